#!/bin/sh
# What -o names may be a symbolic link: the link stays, and the file or folder that
# it leads to is replaced, in its own folder.
set -eu
moetrace=$TOP_BUILDDIR/moetrace
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
rc=0

"$TOP_BUILDDIR/tests/tiny" -o model --layers 2 --dim 32 --ffn 32 --heads 2 \
    --kv-heads 1 --context 64
printf '{"text": "the cat sat on a mat", "domain": "d"}\n' >corpus.jsonl
"$moetrace" trace -q model corpus.jsonl -o run.db
"$moetrace" export -q run.db -o csv --routes-csv routes.csv
mkdir there

# through NAME COMMAND...: what is written to link.NAME is in there/NAME
through()
{
    name=$1
    shift
    ln -s there/"$name" link."$name"
    "$moetrace" "$@" || rc=1 # nothing is there yet
    [ -L link."$name" ] && [ -e there/"$name" ] || {
        echo "$*: no link, or nothing behind it"
        ls -l . there
        rc=1
    }
}
through run.db trace -q model corpus.jsonl -f -o link.run.db
"$moetrace" trace -q model corpus.jsonl -f -o link.run.db
"$moetrace" trace -q model corpus.jsonl --resume -o link.run.db
through merged.db merge -q -f -o link.merged.db run.db
"$moetrace" merge -q -f -o link.merged.db run.db
through imported.db import csv routes.csv -q -f -o link.imported.db
"$moetrace" import csv routes.csv -q -f -o link.imported.db
through routes.csv export -q run.db --routes-csv link.routes.csv -f
"$moetrace" export -q run.db --routes-csv link.routes.csv -f
for f in run merged imported; do
    "$moetrace" info there/$f.db --verify >/dev/null || rc=1
done
cmp routes.csv there/routes.csv || rc=1
"$moetrace" report -q run.db -o there/report
ln -s there/report link.report
"$moetrace" report -q run.db -o link.report --force
[ -e there/report/index.html ] || rc=1
for f in link.*; do
    [ -L $f ] || {
        echo "$f is a link no more"
        rc=1
    }
done
# a run that fails before it has anything leaves what was there
echo '{"text": 1}' >bad.jsonl
cksum <there/run.db >was
if "$moetrace" trace -q model bad.jsonl -f -o link.run.db 2>err; then
    rc=1
fi
cksum <there/run.db | cmp - was || rc=1
if ls ./*.tmp there/*.tmp 2>/dev/null; then
    rc=1
fi
exit $rc
