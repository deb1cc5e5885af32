/* The data that the page's scripts draw from. */
#include "config.h"

#include "analysis/report_internal.h"

#include "analysis/html.h"
#include "analysis/palette.h"
#include "analysis/style.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIGITS = 5,          /* of a share or a rate                       */
    MAX_SHARES = 200000, /* numbers; beyond that the last choice alone */
    SHARE_ONE = 65534,   /* the share of an expert that takes all      */
    NO_SHARE = 65535,
    NO_PIECE = 65535
};

static void colours(moe_buf *out, const char *name, const uint32_t *rgb, int n)
{
    moe_buf_printf(out, "\"%s\":[", name);
    for (int i = 0; i < n; i++)
        moe_buf_printf(out, "%s\"#%06x\"", i ? "," : "", (unsigned)rgb[i]);
    moe_buf_puts(out, "]");
}

static void style(moe_buf *out, const moe_report *r)
{
    moe_buf_puts(out, "\"style\":{\"groups\":[");
    for (int i = 0; i < MOE_REPORT_GROUPS; i++) {
        moe_style_mark m = moe_style_group(i);

        moe_buf_printf(out, "%s{\"c\":\"#%06x\",\"d\":\"%s\",\"p\":%d}",
                       i ? "," : "", (unsigned)m.rgb, m.dash, m.point);
    }
    moe_buf_puts(out, "],\"experts\":[");
    for (int e = 0; e < r->shape->n_expert; e++) {
        moe_color c = moe_palette(e);

        moe_buf_printf(out, "%s\"#%02x%02x%02x\"", e ? "," : "", c.r, c.g, c.b);
    }
    moe_buf_puts(out, "],");
    colours(out, "sequential", moe_style_sequential, 16);
    moe_buf_puts(out, ",");
    colours(out, "diverging", moe_style_diverging, 9);
    moe_buf_puts(out, "}");
}

static int shown_groups(const moe_report_set *set)
{
    return set->n_group < MOE_REPORT_GROUPS ? set->n_group : MOE_REPORT_GROUPS;
}

/* The choices of the page: those of Figure 9; "either" alone where that would be
 * too many numbers, or where the second run chooses another number. */
static int shown_choices(int out[3], const moe_report *r)
{
    int n_choice = r->set[0].share.n[MOE_SHARE_CHOICE];
    int n = moe_figure_choices(out, n_choice);
    int64_t all = 0;

    for (int i = 0; i < r->n_set; i++) {
        const moe_cube *c = &r->set[i].share;

        all += (int64_t)c->n[MOE_SHARE_LAYER] * n * c->n[MOE_SHARE_EXPERT] *
               shown_groups(&r->set[i]) * (r->other ? 2 : 1);
    }
    if (n > 1 && (all > MAX_SHARES ||
                  (r->other && r->other->shape->top_k != r->shape->top_k))) {
        out[0] = n_choice - 1;
        n = 1;
    }
    return n;
}

/* Numbers of one or two bytes, little end first, as a base64 string. */
static void put_packed(moe_buf *out, const uint16_t *v, int64_t n, int width)
{
    unsigned char part[3 * 512];
    size_t have = 0;

    moe_buf_puts(out, "\"");
    for (int64_t i = 0; i < n; i++) {
        part[have++] = (unsigned char)(v[i] & 255);
        if (width == 2)
            part[have++] = (unsigned char)(v[i] >> 8);
        if (have == sizeof part || i + 1 == n) {
            moe_base64(out, part, have);
            have = 0;
        }
    }
    moe_buf_puts(out, "\"");
}

static void put_numbers(moe_buf *out, const char *name, const uint16_t *v,
                        int64_t n, int width)
{
    moe_buf_printf(out, ",\"%s\":", name);
    put_packed(out, v, n, width);
}

/* One choice, [group, layer, expert] in 1 / SHARE_ONE; of two runs the groups of
 * A, then those of B. `room` holds them. */
static void put_shares(moe_buf *out, uint16_t *room, const moe_report_set *set,
                       const moe_report_set *other, int choice)
{
    int n = shown_groups(set), n_choice = set->share.n[MOE_SHARE_CHOICE];
    int shift = other ? other->share.n[MOE_SHARE_CHOICE] - n_choice : 0;
    int64_t at = 0;

    for (int i = 0; i < (other ? 2 * n : n); i++) {
        const moe_cube *c = i < n ? &set->share : &other->share;
        const char *name = set->share.label[MOE_SHARE_GROUP][i % n];
        int g = i < n ? i : moe_cube_find(c, MOE_SHARE_GROUP, name);

        for (int l = 0; l < set->share.n[MOE_SHARE_LAYER]; l++)
            for (int e = 0; e < set->share.n[MOE_SHARE_EXPERT]; e++) {
                double v =
                    moe_cube_at(c, l, i < n ? choice : choice + shift, e, g);

                room[at++] = v >= 0 && v <= 1 ? (uint16_t)lrint(v * SHARE_ONE)
                                              : NO_SHARE;
            }
    }
    put_packed(out, room, at, 2);
}

static void shares(moe_buf *out, const moe_report_set *set,
                   const moe_report_set *other, const int *choice, int n)
{
    const moe_cube *c = &set->share;
    uint16_t *room = moe_calloc((size_t)c->n[MOE_SHARE_LAYER] * 2 *
                                    (size_t)shown_groups(set),
                                (size_t)c->n[MOE_SHARE_EXPERT] * sizeof *room);

    moe_buf_puts(out, ",\"shares\":[");
    for (int i = 0; room && i < n; i++) {
        moe_buf_puts(out, i ? "," : "");
        put_shares(out, room, set, other, choice[i]);
    }
    moe_buf_puts(out, "]");
    out->failed |= !room;
    free(room);
}

/* [group][layer] of one choice; the last group is all texts, where they are a
 * group of their own. */
static void rates(moe_buf *out, const char *name, const moe_report_set *set,
                  const moe_cube *c, int choice)
{
    bool all = set->rate.n[MOE_RATE_GROUP] > set->n_group;
    int n = shown_groups(set) + all;

    if (!c->value)
        return;
    moe_buf_printf(out, ",\"%s\":[", name);
    for (int i = 0; i < n; i++) {
        int g = all && i == n - 1 ? set->n_group : i;

        moe_buf_puts(out, i ? ",[" : "[");
        for (int l = 0; l < c->n[MOE_RATE_LAYER]; l++) {
            moe_buf_puts(out, l ? "," : "");
            moe_script_real(out, moe_cube_at(c, choice, l, g, 0), DIGITS);
        }
        moe_buf_puts(out, "]");
    }
    moe_buf_puts(out, "]");
}

static void repeats(moe_buf *out, const moe_report_set *set)
{
    moe_buf_puts(out, ",\"repeats\":[");
    for (int c = 0; c < set->rate.n[MOE_RATE_CHOICE]; c++) {
        const char *name = set->rate.label[MOE_RATE_CHOICE][c];

        moe_buf_printf(out, "%s{\"title\":", c ? "," : "");
        moe_script_text(out, strcmp(name, "first") == 0 ? "First choice repeats"
                             : strcmp(name, "any") == 0 ? "An expert in common"
                                                        : name);
        moe_buf_puts(out, ",\"chance\":");
        moe_script_real(out, moe_cube_at(&set->uniform, c, 0, 0, 0), DIGITS);
        rates(out, "rate", set, &set->rate, c);
        rates(out, "load", set, &set->load, c);
        rates(out, "token", set, &set->token, c);
        rates(out, "low", set, &set->low, c);
        rates(out, "high", set, &set->high, c);
        moe_buf_puts(out, "}");
    }
    moe_buf_puts(out, "]");
}

static void put_named(moe_buf *out, const char *prefix, const char *name)
{
    char *text = moe_format("%s%s", prefix, name);

    moe_script_text(out, text ? text : "");
    out->failed |= !text;
    free(text);
}

static void sets(moe_buf *out, const moe_report *r)
{
    int choice[3], n = shown_choices(choice, r);
    const moe_cube *share = &r->set[0].share;

    moe_buf_puts(out, ",\"choices\":[");
    for (int i = 0; i < n; i++) {
        moe_buf_puts(out, i ? "," : "");
        moe_script_text(out, share->label[MOE_SHARE_CHOICE][choice[i]]);
    }
    moe_buf_puts(out, "],\"sets\":[");
    for (int i = 0; i < r->n_set; i++) {
        const moe_report_set *set = &r->set[i];
        const moe_cube *c = set->share.value ? &set->share : &set->rate;
        int axis =
            set->share.value ? (int)MOE_SHARE_GROUP : (int)MOE_RATE_GROUP;

        moe_buf_printf(out, "%s{\"by\":\"%s\",\"groups\":[", i ? "," : "",
                       set->by);
        for (int g = 0; g < shown_groups(set); g++) {
            moe_buf_puts(out, g ? "," : "");
            put_named(out, r->other ? "A: " : "", c->label[axis][g]);
        }
        for (int g = 0; r->other && g < shown_groups(set); g++) {
            moe_buf_puts(out, ",");
            put_named(out, "B: ", c->label[axis][g]);
        }
        moe_buf_puts(out, "]");
        if (set->share.value)
            shares(out, set, r->other ? &r->other->set[i] : NULL, choice, n);
        if (set->rate.value && !r->other)
            repeats(out, set);
        moe_buf_puts(out, "}");
    }
    moe_buf_puts(out, "]");
}

static int compare_ids(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return (x > y) - (x < y);
}

/* The ids of the sample, each once, rising. Returns their number. */
static int distinct(int32_t *ids, const moe_sample *s)
{
    int n = 0;

    for (int64_t t = 0; t < s->n_tok; t++)
        ids[t] = s->vocab[t];
    qsort(ids, (size_t)s->n_tok, sizeof *ids, compare_ids);
    for (int64_t t = 0; t < s->n_tok; t++)
        if (ids[t] >= 0 && (n == 0 || ids[n - 1] != ids[t]))
            ids[n++] = ids[t];
    return n;
}

static void put_pieces(moe_buf *out, const moe_report *r, const int32_t *ids,
                       int n)
{
    moe_buf text = {0};

    moe_buf_puts(out, ",\"ids\":[");
    for (int i = 0; i < n; i++)
        moe_buf_printf(out, "%s%ld", i ? "," : "", (long)ids[i]);
    moe_buf_puts(out, "],\"pieces\":[");
    for (int i = 0; i < n; i++) {
        size_t size;
        const char *bytes = moe_trace_piece_bytes(r->trace, ids[i], &size);

        moe_buf_clear(&text);
        moe_text_visible(&text, bytes, size, 1);
        if (size == 0)
            moe_buf_printf(&text, "[%ld]", (long)ids[i]);
        moe_buf_puts(out, i ? "," : "");
        moe_script_text(out, text.data ? text.data : "");
    }
    moe_buf_puts(out, "]");
    out->failed |= text.failed;
    moe_buf_fini(&text);
}

static void put_documents(moe_buf *out, const moe_sample *s)
{
    moe_buf_puts(out, "\"docs\":[");
    for (int i = 0; i < s->n_doc; i++) {
        const moe_sample_doc *d = &s->doc[i];

        moe_buf_printf(out, "%s{\"id\":%lld,\"title\":", i ? "," : "",
                       (long long)d->doc->id);
        moe_script_text(out, d->doc->title);
        moe_buf_puts(out, ",\"path\":");
        moe_script_text(out, d->doc->path);
        moe_buf_puts(out, ",\"domain\":");
        moe_script_text(out, d->doc->domain);
        moe_buf_puts(out, ",\"language\":");
        moe_script_text(out, d->doc->language);
        moe_buf_printf(out, ",\"first\":%lld,\"shown\":%lld,\"tokens\":%lld}",
                       (long long)d->first, (long long)d->shown,
                       (long long)d->doc->n_tok);
    }
    moe_buf_puts(out, "]");
}

/* What a run chose for the tokens of the sample. */
static void put_routes(moe_buf *out, const moe_sample *s, int n_expert)
{
    int64_t routes = s->n_tok * s->n_slot * s->top_k;
    int width = n_expert < 255 ? 1 : 2;

    moe_buf_printf(
        out, ",\"top_k\":%d,\"has_gate\":%s,\"has_margin\":%s,\"width\":%d",
        s->top_k, s->has_gate ? "true" : "false",
        s->has_margin ? "true" : "false", width);
    put_numbers(out, "expert", s->expert, routes, width);
    moe_buf_puts(out, ",\"gate\":\"");
    moe_base64(out, s->gate, s->has_gate ? (size_t)routes : 0);
    moe_buf_puts(out, "\"");
    put_numbers(out, "margin", s->margin,
                s->has_margin ? s->n_tok * s->n_slot : 0, 2);
}

static void explorer(moe_buf *out, const moe_report *r)
{
    const moe_sample *s = &r->sample;
    int32_t *ids = moe_calloc((size_t)s->n_tok, sizeof *ids);
    uint16_t *local = moe_calloc((size_t)s->n_tok, sizeof *local);
    int n;

    if (!ids || !local) {
        out->failed = 1;
        goto done;
    }
    n = distinct(ids, s);
    for (int64_t t = 0; t < s->n_tok; t++) {
        const int32_t *found =
            bsearch(&s->vocab[t], ids, (size_t)n, sizeof *ids, compare_ids);

        local[t] = found ? (uint16_t)(found - ids) : NO_PIECE;
    }
    moe_buf_puts(out, ",\"explorer\":{");
    put_documents(out, s);
    put_pieces(out, r, ids, n);
    moe_buf_puts(out, ",\"bos\":[");
    for (int64_t t = 0, any = 0; t < s->n_tok; t++)
        if (s->bos[t])
            moe_buf_printf(out, "%s%lld", any++ ? "," : "", (long long)t);
    moe_buf_puts(out, "]");
    put_routes(out, s, r->shape->n_expert);
    put_numbers(out, "piece", local, s->n_tok, 2);
    put_numbers(out, "nll", s->nll, s->n_tok, 2);
    if (r->other) {
        moe_buf_puts(out, ",\"other\":{\"run\":\"B\"");
        put_routes(out, &r->other->sample, r->shape->n_expert);
        moe_buf_puts(out, "}");
    }
    moe_buf_puts(out, "}");

done:
    free(ids);
    free(local);
}

void moe_report_data(moe_buf *out, const void *report)
{
    const moe_report *r = report;

    moe_buf_puts(out, "{");
    style(out, r);
    moe_buf_printf(out, ",\"two\":%s,\"experts\":%d,\"layers\":[",
                   r->other ? "true" : "false", r->shape->n_expert);
    for (int i = 0; i < r->shape->n_router; i++)
        moe_buf_printf(out, "%s%ld", i ? "," : "", (long)r->shape->layer[i]);
    moe_buf_puts(out, "]");
    sets(out, r);
    moe_report_charts(out, r);
    if (r->sample.n_doc > 0)
        explorer(out, r);
    moe_buf_puts(out, "}");
}
