#include "config.h"

#include "analysis/partners.h"

int moe_partners_order(int32_t *order, const uint32_t *count, int n,
                       int64_t most)
{
    int kept = 0;

    if (most == 0) {
        for (int i = 0; i < n; i++)
            order[i] = i;
        return n;
    }
    for (int i = 0; i < n; i++) {
        int at = kept;

        while (at > 0 && count[order[at - 1]] < count[i])
            at--;
        if (at >= most)
            continue;
        kept += kept < most;
        for (int j = kept - 1; j > at; j--)
            order[j] = order[j - 1];
        order[at] = i;
    }
    return kept;
}

void moe_partners_add(uint32_t *to, const uint32_t *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i];
}
