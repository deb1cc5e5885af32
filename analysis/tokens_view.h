/*
 * The paper's Figure 8: running text with each token on the colour of its first
 * choice, from the table of the analysis `tokens`. Text is shown, never obeyed:
 * controls and markup are escaped.
 */
#ifndef MOE_ANALYSIS_TOKENS_VIEW_H
#define MOE_ANALYSIS_TOKENS_VIEW_H

#include "analysis/table.h"

#include <stdio.h>

/* For a terminal with 24-bit colour: document by document, layer by layer, with
 * a key of the experts. */
void moe_tokens_ansi(FILE *to, const moe_table *tokens);

/* The style rules that the fragment needs (no <style> element around them), for
 * the experts of the table. */
void moe_tokens_css(FILE *to, const moe_table *tokens);

/* A fragment: one <section class="moe-tokens"> per document, one <p> per layer.
 * Each token's title says expert, gate and position. */
void moe_tokens_html(FILE *to, const moe_table *tokens);

/* A whole page of it, without scripts and without anything from elsewhere. */
void moe_tokens_page(FILE *to, const moe_table *tokens);

#endif
