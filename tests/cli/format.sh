#!/bin/sh
# Sources as .clang-format has them. Releases of clang-format differ, so only
# version 14 (Debian 12) decides; without it only the simple rules are checked.
set -eu
cd "$TOP_SRCDIR"
files=$(find main.c main.h engine datasets train probes analysis tests -name '*.[ch]' \
    ! -path 'datasets/demo/*')
rc=0

if grep -nE '[[:space:]]$|	' $files; then
    echo "tabs, or white space at the end of a line"
    rc=1
fi
if grep -nE '[T]ODO|[F]IXME|[X]XX' $files; then
    echo "a note to oneself is no code"
    rc=1
fi
for f in $files; do
    [ "$(wc -l <"$f")" -le 800 ] || {
        echo "$f: over 800 lines"
        rc=1
    }
    [ -z "$(tail -c 1 "$f")" ] || {
        echo "$f: no newline at the end"
        rc=1
    }
done
[ $rc = 0 ] || exit 1

case $(clang-format --version 2>/dev/null) in
*'version 14.'*) ;;
*) exit 77 ;;
esac
clang-format --dry-run -Werror $files 2>&1 | grep 'error:' >&2 && {
    echo "run clang-format -i on these files"
    exit 1
}
exit 0
