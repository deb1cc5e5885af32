#!/bin/sh
# Malformed input of every kind ends in one clear line and exit 1, and leaves every
# existing file as it was.
set -eu
moetrace=$TOP_BUILDDIR/moetrace
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
command -v sqlite3 >/dev/null || exit 77
cd "$dir"
rc=0

# refused TEXT COMMAND...: exit 1, one line with this text, no file changed
refused()
{
    text=$1
    shift
    got=0
    "$moetrace" "$@" >../moetrace.out 2>../moetrace.err || got=$?
    if [ $got != 1 ] || [ -s ../moetrace.out ] ||
        [ "$(wc -l <../moetrace.err)" != 1 ] ||
        ! grep -q -- "$text" ../moetrace.err; then
        echo "$*: exit $got, '$text' expected, not:"
        cat ../moetrace.out ../moetrace.err
        rc=1
    fi
    find . -type f -exec cksum {} + | sort -k 3 >../moetrace.now
    cmp -s ../moetrace.before ../moetrace.now || {
        echo "$*: changed files:"
        diff ../moetrace.before ../moetrace.now || true
        rc=1
    }
}

mkdir files
cd files
for i in 1 2; do
    "$TOP_BUILDDIR/tests/tiny" -o model$i --layers 2 --dim 32 --ffn 32 --heads 2 \
        --kv-heads 1 --context 64 --seed $i
done
for i in 1 2 3 4 5 6; do
    printf '{"text": "the cat number %d sat on a mat", "domain": "d"}\n' $i
done >corpus.jsonl
"$moetrace" trace -q model1 corpus.jsonl -o good.db
"$moetrace" trace -q model1 corpus.jsonl --shard 1/2 -o first.db
"$moetrace" trace -q model1 corpus.jsonl --shard 2/2 -o second.db
"$moetrace" trace -q model2 corpus.jsonl --shard 2/2 -o stranger.db
"$moetrace" export -q good.db -o x --npy

# .npy files that lie: a shape larger than the data, and one that no memory holds
n=$(sqlite3 good.db "SELECT count(*) FROM token")
sed "s/($n, 2, 2)/($((n + 1)), 2, 2)/" x/expert.npy >longer.npy
sed "s/($n, 2, 2)/(9, 2, 2)/" x/expert.npy >shorter.npy
sed "s/($n, 2, 2), }           /($n, 9999999999, 2),}/" x/expert.npy >huge.npy
for f in longer shorter huge; do
    if cmp -s x/expert.npy $f.npy; then
        echo "$f.npy is what was exported"
        rc=1
    fi
done
head -c 100 x/expert.npy >cut.npy
# text that is no table of routes: one line, without a warning for each word
echo 'one, two, three' >words.csv
# JSON that is cut in the middle of a line
printf '{"layer": 0, "token_index": 0, "experts": [1, 0]}\n{"layer": 1, "tok' \
    >cut.jsonl
head -c 150 corpus.jsonl >texts.jsonl
head -c 60 corpus.jsonl | gzip | head -c 40 >texts.jsonl.gz
# databases: newer, none at all, another program's, with rows removed, cut
cp good.db newer.db
sqlite3 newer.db "PRAGMA user_version = 2"
echo "this is no database, although it is longer than its header would be; it goes
on, and on, so that all hundred bytes of such a header are there" >none.db
sqlite3 other.db "CREATE TABLE t(x); INSERT INTO t VALUES(1)"
for table in t_token t_route t_document t_layer t_run; do
    cp good.db less-$table.db
    sqlite3 less-$table.db "DELETE FROM $table WHERE rowid IN
        (SELECT rowid FROM $table ORDER BY rowid LIMIT 1)" 2>/dev/null ||
        sqlite3 less-$table.db "DELETE FROM $table WHERE (document, position) IN
            (SELECT document, position FROM $table LIMIT 1)"
    cmp -s good.db less-$table.db && rc=1
done
# the last document with all of its rows, routes at the end, documents of a run that
# had not finished; views
cp good.db last.db
sqlite3 last.db "DELETE FROM t_route WHERE id >= (SELECT first FROM t_document
    WHERE id = 5); DELETE FROM t_token WHERE document = 5;
    DELETE FROM t_document WHERE id = 5"
cp good.db tail.db
sqlite3 tail.db "DELETE FROM t_route WHERE id >= $n - 2"
cp last.db open.db
sqlite3 open.db "DELETE FROM t_run WHERE key = 'finished'"
cp good.db view.db
sqlite3 view.db 'DROP VIEW selection'
cp good.db other-view.db
sqlite3 other-view.db "DROP VIEW router; CREATE VIEW router AS SELECT
    0 AS document, 0 AS position, 0 AS layer, 0.5 AS margin, 0.5 AS entropy"
head -c 20000 good.db >cut.db
: >empty.db
cp good.db out.db
find . -type f -exec cksum {} + | sort -k 3 >../moetrace.before

for f in longer shorter huge cut; do
    refused "$f.npy: " import vllm $f.npy -f -o out.db
    refused "$f.npy: " import vllm $f.npy -o new.db
done
refused 'cut.jsonl:2: not valid JSON' import jsonl cut.jsonl -f -o out.db
refused "words.csv:1: no column 'document'" import csv words.csv -f -o out.db
refused 'texts.jsonl:[0-9]*: .*JSON' trace -q model1 texts.jsonl -f -o out.db
refused 'texts.jsonl.gz: ' trace -q model1 texts.jsonl.gz -f -o out.db
refused 'not of one run: model_digest sha256:[0-9a-f]* and sha256:' \
    merge -f -o out.db first.db stranger.db
refused 'shard 2/2 is missing' merge -f -o out.db first.db
refused 'are both shard 1/2' merge -f -o out.db first.db first.db

# what is no trace is not replaced: least of all what is to be read
refused 'corpus.jsonl: not a database' trace -q model1 corpus.jsonl -f -o corpus.jsonl
refused 'config.json: not a database' \
    trace -q model1 corpus.jsonl -f -o model1/config.json
refused 'expert.npy: not a database' import vllm x/expert.npy -f -o x/expert.npy
refused 'good.db: is the trace that is read' \
    export good.db --routes-csv good.db -f
# numbers that cannot be
printf '{"layer": 0, "token_index": 0, "experts": [1, 70000]}\n' >wide.jsonl
printf '{"layer": 0, "token_index": 0, "experts": [1], "gating_probs": [1e300]}\n' \
    >infinite.jsonl
find . -type f -exec cksum {} + | sort -k 3 >../moetrace.before
refused 'wide.jsonl:1: expert 70000 at rank 1 is not between 0 and 65535' \
    import jsonl wide.jsonl -o new.db
refused 'infinite.jsonl:1: weight 0 is 1e+300' import jsonl infinite.jsonl -o new.db

# told FILE TEXT: by whatever reads a trace
told()
{
    refused "$2" info $1 --verify
    refused "$2" merge -f -o out.db $1
    refused "$2" export $1 -o new
    refused "$2" export $1 --routes-csv x/routes.csv -f
    refused "$2" analyze $1 repeats --csv
    refused "$2" compare good.db $1
    refused "$2" report $1 -o new
    refused "$2" trace -q model1 corpus.jsonl -o $1 --resume
}
told newer.db 'newer.db: written by a newer version: format 2, this program reads'
told none.db 'none.db: not an SQLite database'
told other.db 'other.db: a database, but no trace'
told empty.db 'empty.db: empty, not a trace'
told cut.db 'cut.db: damaged'
told less-t_token.db 'less-t_token.db: damaged: .* expected'
told less-t_route.db 'less-t_route.db: damaged: '
told less-t_document.db 'less-t_document.db: damaged: 5 documents where its run had 6'
told less-t_layer.db 'less-t_layer.db: .*damaged'
told less-t_run.db 'less-t_run.db: damaged: run has no key layers'
told last.db 'last.db: damaged: 5 documents where its run had 6'
told tail.db "tail.db: damaged: t_route has $((n - 2)) rows, $n expected"
told open.db 'open.db: damaged: 5 documents where its run had 6'
told view.db 'view.db: damaged: no view selection'
refused 'other-view.db: damaged: view router is not as it was made' \
    info other-view.db --verify
exit $rc
