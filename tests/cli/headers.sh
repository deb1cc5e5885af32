#!/bin/sh
# Every header compiles alone, without a warning.
set -eu
cd "$TOP_SRCDIR"
rc=0
for h in $(find main.h engine datasets train probes analysis tests -name '*.h' \
    ! -path 'datasets/demo/*' | sort); do
    printf '#include "%s"\nint moe_alone;\n' "$h" |
        ${CC:-cc} -std=gnu11 -fsyntax-only -Wall -Wextra -pedantic -Werror \
            -I. -I"$TOP_BUILDDIR" -x c - || {
        echo "$h does not compile alone"
        rc=1
    }
done
exit $rc
