/*
 * Colours of experts. The first eight differ for people with any form of colour
 * blindness (after Okabe and Ito 2008, "Color Universal Design", black replaced
 * by grey); further ones step round the hue circle by the golden angle, at
 * changing lightness. A colour depends on the expert's number alone.
 */
#ifndef MOE_ANALYSIS_PALETTE_H
#define MOE_ANALYSIS_PALETTE_H

#include <stdint.h>

typedef struct moe_color {
    uint8_t r, g, b; /* sRGB */
} moe_color;

enum { MOE_PALETTE_DISTINCT = 8 };

moe_color moe_palette(int i);

/* Black or white, whichever is easier to read on that ground. The contrast is
 * at least 4.58, above the 4.5 of WCAG 2.1 (1.4.3). */
moe_color moe_palette_text(moe_color ground);

/* WCAG 2.1's contrast ratio, 1 to 21. */
double moe_palette_contrast(moe_color a, moe_color b);

#endif
