#include "config.h"

#include "engine/backend/amx_internal.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AMX __attribute__((target("amx-tile,amx-bf16")))

enum { XFEATURE_TILEDATA = 18, ARCH_REQ_XCOMP_PERM = 0x1023, LINE = 64 };

static bool cpu_has_amx(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    if (!(d & (1u << 22)) || !(d & (1u << 24))) /* amx-bf16, amx-tile */
        return false;
    if (!(b & (1u << 16)) || !(b & (1u << 30)) || !(b & (1u << 31)))
        return false; /* avx512 f, bw, vl */
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & (1u << 5)))
        return false; /* avx512_bf16 */
    return true;
}

bool moe_amx_available(void)
{
    return cpu_has_amx() &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILEDATA) == 0;
}

/* By inline assembly: gcc 12 may drop the stores that fill the description. */
void moe_amx_begin(void)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};

    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = LINE;
        config.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory");
}

void moe_amx_end(void)
{
    __asm__ volatile("tilerelease" : : : "memory");
}

/* The four sums of a block, tiles 0 to 3: how far those to the right and below
 * lie in memory, and bytes from row to row. */
AMX static inline void sums_begin(const float *c, int64_t right, int64_t below,
                                  size_t stride, bool add)
{
    if (!add) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        return;
    }
    _tile_loadd(0, c, stride);
    _tile_loadd(1, c + right, stride);
    _tile_loadd(2, c + below, stride);
    _tile_loadd(3, c + below + right, stride);
}

AMX static inline void sums_store(float *c, int64_t right, int64_t below,
                                  size_t stride)
{
    _tile_stored(0, c, stride);
    _tile_stored(1, c + right, stride);
    _tile_stored(2, c + below, stride);
    _tile_stored(3, c + below + right, stride);
}

/* The left strip passes once while the right one stays in the first cache:
 * loads with the stream hint leave it there (a quarter faster). */
AMX static inline void load_left(const char *left)
{
    _tile_stream_loadd(4, left, LINE);
    _tile_stream_loadd(5, left + MOE_AMX_TILE, LINE);
}

AMX static inline void load_right(const char *right)
{
    _tile_loadd(6, right, LINE);
    _tile_loadd(7, right + MOE_AMX_TILE, LINE);
}

AMX static inline void sums_add(void)
{
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* What is fetched at each step, a few lines: many at once would hold up the
 * loads of tiles. */
typedef struct fetching {
    moe_amx_ahead *ahead;
    const char *sums; /* of the next block, into the first cache */
    int sum_lines;
} fetching;

static inline void fetch(fetching *f)
{
    for (int i = 0; i < f->ahead->lines; i++, f->ahead->run += LINE)
        _mm_prefetch(f->ahead->run, _MM_HINT_T1);
    for (int i = 0; i < f->sum_lines; i++, f->sums += LINE)
        _mm_prefetch(f->sums, _MM_HINT_T0);
}

AMX static void block_1_1(const char *left, const char *right, int n,
                          fetching *f)
{
    for (int i = 0; i < n; i++) {
        load_left(left);
        load_right(right);
        fetch(f);
        sums_add();
        left += MOE_AMX_PAIR;
        right += MOE_AMX_PAIR;
    }
}

AMX static void block_1_2(const char *left, const char *right, int n,
                          fetching *f)
{
    for (int i = 0; i < n; i++) {
        load_left(left);
        load_right(right + MOE_AMX_PAIR);
        fetch(f);
        sums_add();
        load_right(right);
        sums_add();
        left += MOE_AMX_PAIR;
        right += 2 * MOE_AMX_PAIR;
    }
}

AMX static void block_2_2(const char *left, const char *right, int n,
                          fetching *f)
{
    for (int i = 0; i < n; i++) {
        load_left(left);
        load_right(right + MOE_AMX_PAIR);
        fetch(f);
        sums_add();
        load_right(right);
        sums_add();
        load_left(left + MOE_AMX_PAIR);
        sums_add();
        left += 2 * MOE_AMX_PAIR;
        right += 2 * MOE_AMX_PAIR;
    }
}

AMX static inline void block(const char *left, int left_terms,
                             const char *right, int right_terms, int n,
                             fetching *f)
{
    if (right_terms == 1)
        block_1_1(left, right, n, f);
    else if (left_terms == 1)
        block_1_2(left, right, n, f);
    else
        block_2_2(left, right, n, f);
}

/* Each sum as soon as the one before it is stored: the unit goes on meanwhile. */
AMX static inline void sums_change(float *c)
{
    float *next = c + MOE_AMX_BLOCK;

    _tile_stored(0, c, LINE);
    _tile_loadd(0, next, LINE);
    _tile_stored(1, c + 256, LINE);
    _tile_loadd(1, next + 256, LINE);
    _tile_stored(2, c + 512, LINE);
    _tile_loadd(2, next + 512, LINE);
    _tile_stored(3, c + 768, LINE);
    _tile_loadd(3, next + 768, LINE);
}

AMX void moe_amx_blocks(float *c, const char *left, size_t left_bytes,
                        int left_terms, const char *right, int right_terms,
                        int n, int count, bool add, moe_amx_ahead *ahead)
{
    const int lines = MOE_AMX_BLOCK * (int)sizeof *c / LINE;
    fetching f = {.ahead = ahead, .sum_lines = add ? (lines + n - 1) / n : 0};

    for (int i = 0; i < count; i++, c += MOE_AMX_BLOCK, left += left_bytes) {
        f.sums = (const char *)(c + MOE_AMX_BLOCK);
        if (i == 0 || !add)
            sums_begin(c, 256, 512, LINE, add);
        block(left, left_terms, right, right_terms, n, &f);
        if (add && i + 1 < count)
            sums_change(c);
        else
            sums_store(c, 256, 512, LINE);
    }
}

AMX void moe_amx_block_rows(float *c, int64_t ld, const char *left,
                            const char *right, int terms, int n, bool add)
{
    size_t stride = (size_t)ld * sizeof *c;
    fetching nothing = {.ahead = &(moe_amx_ahead){0}};

    sums_begin(c, 16, 16 * ld, stride, add);
    block(left, terms, right, terms, n, &nothing);
    sums_store(c, 16, 16 * ld, stride);
}

#endif
