#!/bin/sh
# Every command line of the README's sh blocks runs, on part of the demo corpus;
# Python and R blocks where pandas and RSQLite are there. Its table of commands
# is commands.def's.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
readme=$TOP_SRCDIR/README.md

sed -n 's/^MOE_COMMAND(\([a-z]*\),[^"]*"\(.*\)").*/\1 \2/p' \
    "$TOP_SRCDIR/commands.def" >"$dir/commands"
sed -n 's/^| `moetrace \([a-z]*\)[^|]*` | \(.*\) |$/\1 \2/p' "$readme" |
    diff "$dir/commands" - || {
    echo "commands.def (<) and the README's table (>) differ"
    exit 1
}
command -v sqlite3 >/dev/null || exit 77

# block LANGUAGE: the README's code in it
block()
{
    sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" "$readme" | sed '/^```/d'
}

demo=$dir/datasets/demo
mkdir -p "$demo/corpus"
ln -s "$TOP_SRCDIR/datasets/demo/model" "$demo/model"
for f in "$TOP_SRCDIR"/datasets/demo/corpus/*; do
    [ "$(basename "$f")" = manifest.csv ] || ln -s "$f" "$demo/corpus/"
done
awk 'NR == 1 || NR % 24 == 2' "$TOP_SRCDIR/datasets/demo/corpus/manifest.csv" \
    >"$demo/corpus/manifest.csv"

cd "$dir"
PATH=$TOP_BUILDDIR:$PATH
export PATH
block sh >script
grep -q '^moetrace trace' script
sh -eux script >out 2>&1 || {
    cat out
    exit 1
}
# the queries found something
grep -q 'udhr  *[1-9]' out || { cat out; exit 1; }

block python >script.py
[ -s script.py ]
if python3 -c 'import pandas' 2>/dev/null; then
    python3 script.py >out 2>&1 || { cat out; exit 1; }
fi
block r >script.R
[ -s script.R ]
if Rscript -e 'library(RSQLite)' >/dev/null 2>&1; then
    Rscript script.R >out 2>&1 || { cat out; exit 1; }
fi
