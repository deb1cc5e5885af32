#!/bin/sh
# No source is forgotten: each is named in a makefile, each manual page is
# installed, and each part that a .def list should name stands in it.
set -eu
cd "$TOP_SRCDIR"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
rc=0

# All words of the makefiles, %D% being the folder of the makefile.
for mk in Makefile.am $(find engine datasets train probes analysis notebooks-data \
    tests -name '*.mk'); do
    folder=$(dirname "$mk")
    sed -e 's/#.*//' -e "s|%D%|$folder|g" -e 's|^\./||' "$mk"
done | tr -s ' \t\\' '\n\n\n' | sort -u >"$dir/named"

find main.c main.h engine datasets train probes analysis tests \
    ! -path 'datasets/demo/*' \( -name '*.[ch]' -o -name '*.def' -o \
    -name '*.[17]' -o -path 'tests/cli/*.sh' \) | sort >"$dir/there"
if comm -13 "$dir/named" "$dir/there" | grep .; then
    echo "named in no makefile"
    rc=1
fi

# A .def list holds lines MOE_SEAM(NAME); each part is a const object named
# moe_seam_NAME in the list's folder. Neither may lack the other.
for list in $(find engine analysis probes datasets -name '*.def'); do
    macro=$(sed -n 's/^MOE_\([A-Z]*\)(.*/\1/p' "$list" | sort -u)
    seam=$(echo "$macro" | tr 'A-Z' 'a-z')
    sed -n "s/^MOE_$macro(\([a-z0-9_]*\)[,)].*/\1/p" "$list" | sort >"$dir/list"
    grep -rhE "^const moe_[a-z]+ moe_${seam}_[a-z0-9_]+ = \{" "$(dirname "$list")" |
        sed "s/^const moe_[a-z]* moe_${seam}_\([a-z0-9_]*\) .*/\1/" |
        sort >"$dir/parts"
    if [ ! -s "$dir/list" ] || ! diff "$dir/list" "$dir/parts"; then
        echo "$list (<) and the parts that there are (>) differ"
        rc=1
    fi
done
exit $rc
