#include "config.h"

#include "analysis/style.h"

#include <stdlib.h>
#include <string.h>

enum { N_COLOUR = 9 };

static const uint32_t muted[N_COLOUR] = {
    0x332288, 0x882255, 0x117733, 0xaa4499, 0xcc6677,
    0x999933, 0x44aa99, 0x88ccee, 0xddcc77,
};

/* Filled circle, square, triangle up and down, diamond, then the open ones. */
static const int points[] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12};

static const char *const dashes[] = {"", "6 2", "2 2", "8 2 2 2"};

const uint32_t moe_style_sequential[16] = {
    0x440154, 0x481a6c, 0x472f7d, 0x414487, 0x39568c, 0x31688e,
    0x2a788e, 0x23888e, 0x1f988b, 0x22a884, 0x35b779, 0x54c568,
    0x7ad151, 0xa5db36, 0xd2e21b, 0xfde725,
};

const uint32_t moe_style_diverging[9] = {
    0xb35806, 0xe08214, 0xfdb863, 0xfee0b6, 0xf7f7f7,
    0xd8daeb, 0xb2abd2, 0x8073ac, 0x542788,
};

const uint32_t moe_style_chance_rgb = 0x555555;

const char *const moe_style_font = "DejaVu Sans";

const double moe_style_column_mm = 85, moe_style_page_mm = 170;

moe_style_mark moe_style_group(int i)
{
    const int n_point = (int)(sizeof points / sizeof *points);
    const int n_dash = (int)(sizeof dashes / sizeof *dashes);

    return (moe_style_mark){muted[i % N_COLOUR], dashes[(i / 5 + i) % n_dash],
                            points[(i / N_COLOUR + i) % n_point]};
}

bool moe_style_width(double *mm, const char *text)
{
    char *end;
    double v = strtod(text, &end);

    if (end == text || (*end && strcmp(end, "mm") != 0) ||
        !(v >= 60 && v <= 400))
        return false;
    *mm = v;
    return true;
}
