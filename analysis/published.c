#include "config.h"

#include "analysis/published.h"

#include "analysis/report_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Our names for texts of the same kind as the paper's domains. */
static const struct {
    const char *here, *paper;
} stand_ins[] = {
    {"faq", "StackExchange"},
    {"encyclopedia", "Wikipedia (en)"},
    {"wikipedia", "Wikipedia (en)"},
    {"pubmed", "PubMed Abstracts"},
};

static int domain_of(moe_published *p, const char *name)
{
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->name[i], name) == 0)
            return i;
    if (p->n == MOE_PUBLISHED_DOMAINS)
        return -1;
    snprintf(p->name[p->n], sizeof p->name[p->n], "%s", name);
    return p->n++;
}

static int layer_of(moe_published *p, int layer)
{
    for (int i = 0; i < p->n_layer; i++)
        if (p->layer[i] == layer)
            return i;
    if (p->n_layer == MOE_PUBLISHED_LAYERS)
        return -1;
    p->layer[p->n_layer] = layer;
    return p->n_layer++;
}

/* The file has plain fields, no quotes: domain, layer, first, first or second. */
void moe_published_read(moe_published *p)
{
    *p = (moe_published){0};
    for (int i = 1; moe_page_table5[i]; i++) {
        char name[64];
        double first, any;
        int layer, d, l;

        if (sscanf(moe_page_table5[i], "%63[^,],%d,%lf,%lf", name, &layer,
                   &first, &any) != 4)
            continue;
        d = domain_of(p, name);
        l = layer_of(p, layer);
        if (d < 0 || l < 0)
            continue;
        p->rate[d][l][0] = first;
        p->rate[d][l][1] = any;
    }
}

/* Equal but for case and what is neither letter nor digit. */
static bool same_name(const char *a, const char *b)
{
    while (*a || *b) {
        while (*a && !isalnum((unsigned char)*a))
            a++;
        while (*b && !isalnum((unsigned char)*b))
            b++;
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
        a += *a != '\0';
        b += *b != '\0';
    }
    return true;
}

int moe_published_find(const moe_published *p, const char *group,
                       bool *stand_in)
{
    *stand_in = false;
    for (int i = 0; i < p->n; i++)
        if (same_name(p->name[i], group))
            return i;
    *stand_in = true;
    for (size_t s = 0; s < sizeof stand_ins / sizeof *stand_ins; s++)
        for (int i = 0; i < p->n; i++)
            if (same_name(stand_ins[s].here, group) &&
                same_name(stand_ins[s].paper, p->name[i]))
                return i;
    return -1;
}
