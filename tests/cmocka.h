/* cmocka with the headers that it wants before itself. */
#ifndef MOE_TESTS_CMOCKA_H
#define MOE_TESTS_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/error.h"

/* Fails with the stored message when an action failed. */
#define assert_ok(action)                                                      \
    do {                                                                       \
        moe_err assert_ok_err = (action);                                      \
        if (assert_ok_err != MOE_OK)                                           \
            fail_msg("%s: %d, %s", #action, (int)assert_ok_err,                \
                     moe_error_text());                                        \
    } while (0)

/* The action fails with this code and a message that holds this text. */
#define assert_fails(action, code, text)                                       \
    do {                                                                       \
        assert_int_equal((action), (code));                                    \
        if (!strstr(moe_error_text(), (text)))                                 \
            fail_msg("message \"%s\" lacks \"%s\"", moe_error_text(), (text)); \
    } while (0)

#endif
