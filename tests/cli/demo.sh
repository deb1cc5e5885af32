#!/bin/sh
# datasets/demo/corpus holds the documents that manifest.csv names and no others.
set -eu
cd "$TOP_SRCDIR/datasets/demo/corpus"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

sed 1d manifest.csv | cut -d, -f1 | sort >"$dir/named"
find . -mindepth 2 -type f ! -path './parallel/*' | sed 's|^\./||' |
    sort >"$dir/there"
test -s "$dir/named"
diff "$dir/named" "$dir/there"

# Every licence file that LICENSES.md refers to is there, and the other way round.
for f in ../licenses/*.txt; do
    name=$(basename "$f" .txt)
    grep -q "$name" ../LICENSES.md ../model/README.md || {
        echo "licenses/$name.txt: nothing refers to it"
        exit 1
    }
done
