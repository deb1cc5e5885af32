#!/bin/sh
# Shards of a corpus, traced apart and merged, have the rows of one run, and
# analyses take them as they are; routes that were exported and imported again
# give the same analyses.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
moetrace=$TOP_BUILDDIR/moetrace
model=$TOP_SRCDIR/datasets/demo/model
rc=0

# some documents of the bundled corpus
corpus=$TOP_SRCDIR/datasets/demo/corpus
sampled="--sample 0.04 --sample-by domain --seed 2"
"$moetrace" trace -q "$model" "$corpus" $sampled -o whole.db
for i in 5 3 1 7 2 6 4; do
    "$moetrace" trace -q "$model" "$corpus" $sampled --shard $i/7 -o $i.db
done
"$moetrace" merge -q -o merged.db 7.db 2.db 3.db 1.db 6.db 4.db 5.db
for f in whole merged; do
    "$moetrace" export $f.db -o $f
done
for f in document token selection router; do
    cmp whole/$f.csv merged/$f.csv || rc=1
done
# what tells of rows is said of both
for f in whole merged; do
    grep -E '^(model_digest|context|precision|corpus_digest|documents|tokens),' \
        $f/run.csv | sort >$f.run
done
cmp whole.run merged.run || rc=1
[ "$(wc -l <whole.run)" = 6 ] || { cat whole.run; rc=1; }

# what is read together is what was merged
"$moetrace" analyze merged.db all --resamples 40 >merged.txt
"$moetrace" analyze 7.db 2.db ./3.db 1.db 6.db 4.db 5.db all --resamples 40 \
    >together.txt
cmp merged.txt together.txt || rc=1
if "$moetrace" analyze 1.db 2.db shares >/dev/null 2>err ||
    ! grep -q 'shard 3/7 is missing' err; then
    echo "two of seven shards are taken for all"
    cat err
    rc=1
fi

"$moetrace" export whole.db --routes-csv routes.csv
"$moetrace" import csv routes.csv --experts 8 --vocab 4096 -o again.db
for f in whole again; do
    # lines that begin with # tell where a trace comes from
    "$moetrace" analyze $f.db all --resamples 40 --csv | grep -v '^#' >$f.csv
done
cmp whole.csv again.csv || rc=1
[ "$(wc -l <whole.csv)" -gt 100 ] || { cat whole.csv; rc=1; }

"$moetrace" trace -q "$model" "$corpus" $sampled --context 64 --shard 1/7 -o other.db
if "$moetrace" merge -o none.db other.db 2.db 3.db 4.db 5.db 6.db 7.db 2>err ||
    [ -e none.db ] || ! grep -q 'not of one run: context 64 and 256$' err; then
    echo "a shard with another context is no stranger"
    cat err
    rc=1
fi
exit $rc
