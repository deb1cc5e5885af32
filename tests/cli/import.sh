#!/bin/sh
# moetrace import and export from the command line: a trace goes out and comes
# back, and what is wrong ends in one line and the right exit status.
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

before=$(cksum <run.db)
expect 1 'run.db: exists already' "$moetrace" import csv routes.csv -o run.db
expect 1 'csv: exists already' "$moetrace" export run.db -o csv
sed 's/^2,0,5/8,0,5/' routes.csv >bad.csv
expect 1 'bad.csv:4: expert 8 where --experts 8 allows 0 to 7' \
    "$moetrace" import csv bad.csv -o run.db --force --experts 8
expect 1 'none.csv: No such file' "$moetrace" import csv none.csv -o none.db
expect 1 'no/run.db' "$moetrace" import csv routes.csv -o no/run.db
expect 1 'bad.csv: not an SQLite database' "$moetrace" export bad.csv -o none
expect 2 "format 'cvs' is not one of csv" "$moetrace" import cvs routes.csv -o none.db
expect 2 '--output is needed' "$moetrace" import csv routes.csv
expect 2 '--output or --routes-csv is needed' "$moetrace" export run.db
expect 2 '--npy needs --output' "$moetrace" export run.db --npy --routes-csv -
[ "$before" = "$(cksum <run.db)" ] || { echo "run.db has changed"; rc=1; }
[ ! -e none.db ] && [ ! -e none ] && [ -z "$(ls ./*.tmp 2>/dev/null)" ] ||
    { ls; echo "something was left"; rc=1; }
exit $rc
