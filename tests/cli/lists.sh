#!/bin/sh
# No source is forgotten: each is named in a makefile, each manual page is
# installed, and each part that a .def list should name stands in it.
set -eu
cd "$TOP_SRCDIR"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
rc=0

# All words of the makefiles, %D% being the folder of the makefile.
for mk in Makefile.am $(find engine datasets probes analysis notebooks-data \
    tests -name '*.mk'); do
    folder=$(dirname "$mk")
    sed -e 's/#.*//' -e "s|%D%|$folder|g" -e 's|^\./||' "$mk"
done | tr -s ' \t\\' '\n\n\n' | sort -u >"$dir/named"

find main.c main.h engine datasets probes analysis tests \
    ! -path 'datasets/demo/*' \( -name '*.[ch]' -o -name '*.def' -o \
    -name '*.[17]' -o -path 'tests/cli/*.sh' \) | sort >"$dir/there"
if comm -13 "$dir/named" "$dir/there" | grep .; then
    echo "named in no makefile"
    rc=1
fi

# A part is a const object of its seam's type, named moe_SEAM_NAME, and stands
# as MOE_SEAM(NAME) in the seam's list; no list names what is not there.
seam()
{
    sed -n "s/^MOE_$2(\([a-z0-9_]*\)[,)].*/\1/p" "$1" | sort >"$dir/list"
    grep -rhE "^const moe_$3 moe_$3_[a-z0-9_]+ = \{" "$(dirname "$1")" |
        sed "s/^const moe_$3 moe_$3_\([a-z0-9_]*\) .*/\1/" | sort >"$dir/parts"
    if ! diff "$dir/list" "$dir/parts"; then
        echo "$1 (<) and the parts that there are (>) differ"
        rc=1
    fi
    [ -s "$dir/list" ] || {
        echo "$1: empty"
        rc=1
    }
}
for list in $(find engine analysis probes -name '*.def'); do
    case $list in
    engine/arch/archs.def) seam "$list" ARCH arch ;;
    engine/backend/backends.def) seam "$list" BACKEND backend ;;
    analysis/analyses.def) seam "$list" ANALYSIS analysis ;;
    probes/probes.def) seam "$list" PROBE probe ;;
    *)
        echo "$list: a list that $0 does not know"
        rc=1
        ;;
    esac
done
exit $rc
