#include "config.h"

#include "engine/backend/panels.h"

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t panel_rows(const moe_panels *cut, const moe_product *p)
{
    int64_t length = p->w->shape[1] < cut->piece ? p->w->shape[1] : cut->piece;
    int64_t rows = cut->floats / length;

    if (rows > cut->max_rows)
        rows = cut->max_rows;
    if (rows > 16)
        rows -= rows % 16;
    return rows > 0 ? rows : 1;
}

static int64_t panels_of(const moe_panels *cut, const moe_product *p)
{
    return p->m > 0 ? ceil_div(p->w->shape[0], panel_rows(cut, p)) : 0;
}

void moe_panels_cut(moe_panels *cut, int64_t want, int64_t min_block)
{
    int64_t n_panel = 0, longest = 0;

    cut->n_block = 1;
    for (int i = 0; i < cut->n; i++) {
        n_panel += panels_of(cut, &cut->list[i]);
        longest = cut->list[i].m > longest ? cut->list[i].m : longest;
    }
    if (n_panel > 0 && n_panel < want) {
        int64_t most = longest / min_block;

        cut->n_block = ceil_div(want, n_panel);
        if (cut->n_block > most)
            cut->n_block = most > 1 ? most : 1;
    }
}

int64_t moe_panels_count(const moe_panels *cut)
{
    int64_t n_panel = 0;

    for (int i = 0; i < cut->n; i++)
        n_panel += panels_of(cut, &cut->list[i]);
    return n_panel * cut->n_block;
}

moe_panel moe_panels_at(const moe_panels *cut, int64_t i)
{
    const moe_product *p = cut->list;
    int64_t panel = i / cut->n_block, rows, block;
    moe_panel at = {0};

    while (panel >= panels_of(cut, p))
        panel -= panels_of(cut, p++);
    rows = panel_rows(cut, p);
    /* Whole multiples of 16 tokens suit the kernels of every BLAS. */
    block = ceil_div(ceil_div(p->m, cut->n_block), 16) * 16;
    at.product = p;
    at.row = panel * rows;
    at.n_row = p->w->shape[0] - at.row < rows ? p->w->shape[0] - at.row : rows;
    at.tok = i % cut->n_block * block;
    if (at.tok < p->m)
        at.n_tok = p->m - at.tok < block ? p->m - at.tok : block;
    return at;
}

double moe_panels_work(const moe_product *list, int n)
{
    double work = 0;

    for (int i = 0; i < n; i++)
        work += (double)list[i].m * (double)list[i].w->shape[0] *
                (double)list[i].w->shape[1];
    return work;
}
