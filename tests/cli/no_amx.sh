#!/bin/sh
# Where the system refuses the registers of the AMX unit, other backends do the
# work, with the same routes, and amx says that it cannot.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
no_amx=$TOP_BUILDDIR/tests/no_amx
model=$TOP_SRCDIR/tests/golden/mixtral-docs-bf16/model
"$no_amx" true || exit 77

got=0
"$no_amx" "$moetrace" bench "$model" -n 8 -b amx >"$dir/out" 2>"$dir/err" ||
    got=$?
[ $got = 1 ] || fail "amx without its registers: status $got, not 1"
grep -q 'no such backend and precision on this processor' "$dir/err" ||
    fail "amx without its registers: $(cat "$dir/err")"
"$no_amx" "$moetrace" bench "$model" -n 8 -r 1 --csv >"$dir/rates" ||
    fail "no backend works without amx"
grep -q '^amx' "$dir/rates" && fail "amx works without its registers"
grep -q '^openblas,exact,[0-9]' "$dir/rates" || fail "openblas is missing"
"$no_amx" "$moetrace" verify "$model" -n 64 >"$dir/verify" ||
    fail "no routes without amx"
exit $rc
