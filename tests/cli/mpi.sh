#!/bin/sh
# Four ranks give the rows of one process, also when one of them is killed and the
# run is resumed by fewer; where mpirun lets the others live they trace all that
# the lost one had not taken. Needs a build --with-mpi; without it, being started
# as one of several is an error.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
moetrace=$TOP_BUILDDIR/moetrace
model=$TOP_SRCDIR/datasets/demo/model
rc=0

for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    printf '{"text": "Text %d of a corpus, %s.", "domain": "d%d"}\n' \
        $i "$(seq -s ' and ' $((i * 7)))" $((i % 3))
done >corpus.jsonl

if ! grep -q '^MPI_LIBS = ..*' "$TOP_BUILDDIR/Makefile"; then
    if OMPI_COMM_WORLD_SIZE=2 "$moetrace" trace "$model" corpus.jsonl \
        -o none.db 2>err || ! grep -q 'built without MPI' err || [ -e none.db ]; then
        cat err
        exit 1
    fi
    exit 77
fi
command -v mpirun >/dev/null || exit 77
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM

# ranks N OPTION...: trace by N ranks, in small batches
ranks()
{
    (become_ranks "$@")
}
become_ranks()
{
    n=$1
    shift
    exec mpirun --oversubscribe -n "$n" "$moetrace" trace -q "$model" corpus.jsonl \
        --context 64 --batch 64 --commit 0 --threads 1 "$@"
}

# same FILE: its rows are those of whole.db
same()
{
    rm -rf got
    "$moetrace" export "$1" -o got
    for f in document token selection router; do
        cmp want/$f.csv got/$f.csv || rc=1
    done
    [ -z "$(ls "$1".rank-* 2>/dev/null)" ] || {
        ls
        rc=1
    }
}

"$moetrace" trace -q "$model" corpus.jsonl --context 64 -o whole.db
"$moetrace" export whole.db -o want
ranks 4 -o run.db
same run.db
if ranks 2 -o run.db 2>err || ! grep -q 'run.db: exists already' err; then
    echo "an existing trace is not refused"
    rc=1
fi
ranks 2 -o run.db --force
same run.db
# what machines have between them: no memory in common
OMPI_MCA_btl=tcp,self OMPI_MCA_osc=pt2pt
export OMPI_MCA_btl OMPI_MCA_osc
ranks 3 -o apart.db
unset OMPI_MCA_btl OMPI_MCA_osc
same apart.db

# more ranks than documents, and a sample
head -2 corpus.jsonl >two.jsonl
mpirun --oversubscribe -n 4 "$moetrace" trace -q "$model" two.jsonl --threads 1 \
    -o two.db || rc=1
[ "$("$moetrace" export two.db -o two && grep -c ,two.jsonl: two/document.csv)" = 2 ] ||
    rc=1
"$moetrace" trace -q "$model" corpus.jsonl --context 64 --sample 0.4 --seed 3 \
    --sample-by domain -o some.db
mv want all
"$moetrace" export some.db -o want
ranks 3 --sample 0.4 --seed 3 --sample-by domain -o sampled.db
same sampled.db
rm -r want
mv all want

# The others live: all but the documents that the lost rank had in hand are there,
# and what it had committed.
mpirun --oversubscribe --enable-recovery -n 3 "$moetrace" trace -q "$model" \
    corpus.jsonl --context 64 --batch 64 --commit 0 --threads 1 -o alive.db \
    >/dev/null 2>&1 &
mpi=$!
i=0
while [ ! -s alive.db.rank-1.db ] && [ $i -lt 200 ]; do
    sleep 0.02
    i=$((i + 1))
done
for p in /proc/[0-9]*; do
    if grep -qs "^PPid:.$mpi\$" "$p/status"; then
        kill -9 "${p#/proc/}" 2>/dev/null || true
        break
    fi
done
wait $mpi || true
if [ -e alive.db ]; then # it was dead before it took anything, or all was done
    ls alive.db.rank-* 2>/dev/null && rc=1
else
    "$moetrace" merge -q --allow-gaps -o living.db alive.db.rank-*.db
    "$moetrace" export living.db -o living
    [ "$(grep -c ,corpus.jsonl: living/document.csv)" -ge 14 ] || {
        cat living/document.csv
        rc=1
    }
    ranks 2 -o alive.db --resume
fi
same alive.db

# a rank dies when it has begun
become_ranks 3 -o lost.db >/dev/null 2>&1 &
mpi=$!
i=0
while [ ! -s lost.db.rank-2.db ] && [ $i -lt 100 ]; do
    sleep 0.05
    i=$((i + 1))
done
sleep 0.2
for p in /proc/[0-9]*; do
    if grep -qs "^PPid:.$mpi\$" "$p/status"; then
        kill -9 "${p#/proc/}" 2>/dev/null || true
        break
    fi
done
wait $mpi || true
ranks 2 -o lost.db --resume
same lost.db

# and what ranks left is completed by one process
become_ranks 3 -o left.db >/dev/null 2>&1 &
mpi=$!
i=0
while [ ! -s left.db.rank-1.db ] && [ $i -lt 100 ]; do
    sleep 0.05
    i=$((i + 1))
done
sleep 0.2
kill "$mpi" 2>/dev/null || true
wait $mpi || true
"$moetrace" trace -q "$model" corpus.jsonl --context 64 --batch 64 -o left.db --resume
same left.db
exit $rc
