#!/bin/sh
# moetrace import, export and merge from the command line: a trace goes out and
# comes back, in one part or two, and what is wrong ends in one line and the right exit status.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
moetrace=$TOP_BUILDDIR/moetrace
rc=0

# expect STATUS TEXT COMMAND...: the exit status, and one line with this text
expect()
{
    want=$1 text=$2
    shift 2
    got=0
    "$@" >out 2>err || got=$?
    [ "$got" = "$want" ] || { echo "$*: exit $got, not $want"; cat err; rc=1; }
    [ "$(wc -l <err)" = 1 ] && grep -qF -- "$text" err ||
        { echo "$*: no line with '$text':"; cat err; rc=1; }
}

cat >routes.csv <<END
expert,rank,layer,position,document,domain,gate
3,0,0,0,a.txt,wiki,0.75
1,1,0,0,a.txt,,0.25
2,0,5,0,a.txt,,1
0,1,5,0,a.txt,,0
END
"$moetrace" import csv routes.csv -o run.db --experts 8 --layers 8
"$moetrace" export run.db -o csv --npy
cat >want <<END
document,position,layer,rank,expert,gate
0,0,0,0,3,0.75
0,0,0,1,1,0.25
0,0,5,0,2,1
0,0,5,1,0,0
END
cmp want csv/selection.csv || rc=1
grep -q '^0,a.txt,,wiki,,1,0,$' csv/document.csv || { cat csv/document.csv; rc=1; }
grep -q '^importer,csv$' csv/run.csv || { cat csv/run.csv; rc=1; }
grep -q "^source_digest,$(sha256sum routes.csv | cut -d ' ' -f 1)\$" csv/run.csv ||
    { echo "the source's digest is not in the trace"; rc=1; }
[ "$(wc -c <csv/expert.npy)" = $((128 + 4 * 4)) ] || { echo expert.npy; rc=1; }

"$moetrace" export run.db --routes-csv - | gzip >again.csv.gz
"$moetrace" import csv again.csv.gz -o again.db --experts 8 --layers 8
"$moetrace" export again.db -o csv2
for f in document token selection router; do
    cmp csv/$f.csv csv2/$f.csv || rc=1
done

# arrays out and in again: routes, ids, phases and documents
"$moetrace" import vllm csv/expert.npy --offsets csv/doc_offsets.npy --experts 8 \
    --router-layers 0,5 --layers 8 --phases csv/token_phase.npy --allow-gaps \
    -o arrays.db
"$moetrace" export arrays.db -o csv3
cut -d , -f 1-5 csv/selection.csv >want
cut -d , -f 1-5 csv3/selection.csv >got
cmp want got || rc=1
printf '0,3\n0,1\n5,2\n5,0\n' >lines.csv
"$moetrace" import llamacpp lines.csv --top-k 2 --experts 8 --layers 8 -o lines.db
"$moetrace" export lines.db -o csv4
cut -d , -f 1-5 csv4/selection.csv >got
cmp want got || rc=1

# two parts of one import, documents 0 and 1
sed 's/a.txt/0/' routes.csv >0.csv
sed 's/a.txt/1/' routes.csv >1.csv
(cat 0.csv; sed 1d 1.csv) >both.csv
for i in 0 1 both; do
    "$moetrace" import csv $i.csv -o $i.db --experts 8 --layers 8
done
"$moetrace" merge -o joined.db 1.db 0.db >told
grep -q '^joined.db: 2 documents, 2 tokens from 2 traces$' told || { cat told; rc=1; }
"$moetrace" export joined.db --routes-csv joined.csv
"$moetrace" export both.db --routes-csv want.csv
cmp want.csv joined.csv || rc=1

before=$(cksum <run.db)
expect 1 'joined.db: exists already' "$moetrace" merge -o joined.db 0.db 1.db
expect 1 'both have document 0' "$moetrace" merge -o none.db 0.db both.db
expect 1 'document 0 is in none' "$moetrace" merge -o none.db 1.db
expect 1 '0.csv: not an SQLite database' "$moetrace" merge -o none.db 1.db 0.csv
expect 2 '--output is needed' "$moetrace" merge 0.db 1.db
expect 1 'run.db: exists already' "$moetrace" import csv routes.csv -o run.db
expect 1 'csv: exists already' "$moetrace" export run.db -o csv
sed 's/^2,0,5/8,0,5/' routes.csv >bad.csv
expect 1 'bad.csv:4: expert 8 where --experts 8 allows 0 to 7' \
    "$moetrace" import csv bad.csv -o run.db --force --experts 8
expect 1 'none.csv: No such file' "$moetrace" import csv none.csv -o none.db
expect 1 'no/run.db' "$moetrace" import csv routes.csv -o no/run.db
expect 1 'bad.csv: not an SQLite database' "$moetrace" export bad.csv -o none
expect 2 '--top-k means nothing for vllm' \
    "$moetrace" import vllm csv/expert.npy --top-k 2 -o none.db
expect 1 'csv/run.csv: not a .npy file' "$moetrace" import vllm csv/run.csv -o none.db
expect 2 "format 'cvs' is not one of csv" "$moetrace" import cvs routes.csv -o none.db
expect 2 '--output is needed' "$moetrace" import csv routes.csv
expect 2 '--output or --routes-csv is needed' "$moetrace" export run.db
expect 2 '--npy needs --output' "$moetrace" export run.db --npy --routes-csv -
[ "$before" = "$(cksum <run.db)" ] || { echo "run.db has changed"; rc=1; }
[ ! -e none.db ] && [ ! -e none ] && [ -z "$(ls ./*.tmp 2>/dev/null)" ] ||
    { ls; echo "something was left"; rc=1; }
exit $rc
