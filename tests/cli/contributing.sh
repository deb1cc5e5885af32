#!/bin/sh
# The analysis in CONTRIBUTING.md compiles without a warning.
set -eu
cd "$TOP_SRCDIR"
code=$(mktemp)
trap 'rm -f "$code"' EXIT

sed -n '/^```c$/,/^```$/p' CONTRIBUTING.md | sed '/^```/d' >"$code"
grep -q '^const moe_analysis moe_analysis_close = {' "$code"
${CC:-cc} -std=gnu11 -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wvla \
    -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wcast-qual -Werror \
    -I. -I"$TOP_BUILDDIR" -x c "$code"
