#include "config.h"

#include "engine/base/utf8.h"

#include <string.h>

size_t moe_utf8_next(const char *text, size_t n, uint32_t *code)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)text;
    size_t want;
    uint32_t c;

    if (p[0] < 0x80) {
        *code = p[0];
        return 1;
    }
    if ((p[0] & 0xe0) == 0xc0)
        want = 2;
    else if ((p[0] & 0xf0) == 0xe0)
        want = 3;
    else if ((p[0] & 0xf8) == 0xf0)
        want = 4;
    else
        return 0;
    if (n < want)
        return 0;
    c = p[0] & (0x7fu >> want);
    for (size_t i = 1; i < want; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c < least[want] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *code = c;
    return want;
}

bool moe_utf8_begins(const char *text, size_t n)
{
    static const char rest[2][3] = {{'\x80', '\x80', '\x80'},
                                    {'\xbf', '\xbf', '\xbf'}};
    char whole[4];
    uint32_t code;

    if (n == 0 || n > 3)
        return false;
    /* what is out of range with the lowest and with the highest bytes that may
     * follow is so with all between */
    memcpy(whole, text, n);
    for (int i = 0; i < 2; i++)
        for (size_t length = n + 1; length <= 4; length++) {
            memcpy(whole + n, rest[i], length - n);
            if (moe_utf8_next(whole, length, &code) == length)
                return true;
        }
    return false;
}

bool moe_utf8_label(const char *text, size_t n)
{
    for (size_t at = 0, step; at < n; at += step) {
        uint32_t code;

        step = moe_utf8_next(text + at, n - at, &code);
        if (step == 0 || code == 0)
            return false;
    }
    return true;
}
