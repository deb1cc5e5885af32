#!/bin/sh
# A run that is killed at any moment, interrupted, or out of disk leaves whole
# documents, and --resume completes it to the same rows.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
mounted=
trap '[ -z "$mounted" ] || umount "$dir/small"; rm -rf "$dir"' EXIT
command -v sqlite3 >/dev/null || exit 77
cd "$dir"

# trace OPTION...: documents that are shorter and longer than a batch.
trace()
{
    "$moetrace" trace -q model texts --batch 300 "$@"
}

rows()
{
    sqlite3 "$1" "SELECT * FROM document; SELECT * FROM token;
        SELECT * FROM selection; SELECT * FROM router"
}

# whole DB: it opens, and all of it is whole documents.
whole()
{
    got=$(sqlite3 "$1" "PRAGMA integrity_check; SELECT
        (SELECT total(tokens) FROM document) = (SELECT count(*) FROM token) AND
        (SELECT count(*) FROM token) * 6 = (SELECT count(*) FROM selection)")
    [ "$got" = "ok
1" ] || fail "$1 after $2: $got"
}

# refused TEXT OPTION...: to resume; one line, and the file as it was.
refused()
{
    text=$1
    shift
    refuses 1 "$text" "$moetrace" trace -q --batch 300 -o full.db --resume "$@"
    cmp -s full.db kept.db || fail "$*: changed the file"
}

tiny()
{
    "$TOP_BUILDDIR/tests/tiny" -o "$1" --layers 3 --dim 32 --ffn 32 --heads 2 \
        --kv-heads 1 --context 64 --seed "$2"
}
tiny model 1
mkdir texts
i=0
while [ $i -lt 24 ]; do
    i=$((i + 1))
    j=0
    while [ $j -lt $((i * i % 19 * 3)) ]; do
        j=$((j + 1))
        echo "the cat number $i sat on mat $((i * j)) and the day was fine"
    done >"texts/$((100 + i)).txt"
done

# stop_after SIGNAL SECONDS OPTION...: a run that gets a signal after that time; returns
# when it is gone, with its status. (timeout(1) does not wait for what it kills.)
stop_after()
{
    signal=$1 delay=$2
    shift 2
    "$moetrace" trace -q model texts --batch 300 --commit 0 "$@" >out 2>err &
    sleep "$delay"
    kill -s "$signal" $! 2>/dev/null || :
    wait $!
}

# random FROM TO: between these numbers of milliseconds, as seconds.
random()
{
    awk -v s="$seed$kills" -v a="$1" -v b="$2" \
        'BEGIN { srand(s); printf "%.3f", (a + rand() * (b - a)) / 1000 }'
}

begin=$(date +%s%N)
trace -o full.db
whole_ms=$((($(date +%s%N) - begin) / 1000000))
rows full.db >want
n=$(wc -l <want)
[ "$n" -gt 30000 ] || fail "only $n rows"

# Killed at dozens of random moments; each time that it gets through, once more.
# How long a run takes is learned on the way: the machine may be busy by turns.
seed=$(date +%N | sed 's/^0*//')
kills=0 parts=0 last=-1 span_ms=$whole_ms
while [ $kills -lt 30 ] || { [ $parts -lt 3 ] && [ $kills -lt 90 ]; }; do
    kills=$((kills + 1))
    status=0
    stop_after KILL "$(random $((span_ms / 10)) $((span_ms * 11 / 10)))" \
        -o killed.db --resume || status=$?
    [ $status = 0 ] || [ $status -gt 128 ] ||
        fail "seed $seed, run $kills: $(cat err)"
    now=-1
    if [ -e killed.db ]; then
        whole killed.db "kill $kills of seed $seed"
        now=$(sqlite3 killed.db "SELECT count(*) FROM document")
        [ "$now" -ge "$last" ] ||
            fail "seed $seed: $now documents after $last"
    fi
    if [ "$now" = "$last" ]; then
        span_ms=$((span_ms * 5 / 4))
    else
        parts=$((parts + 1))
    fi
    last=$now
    if [ $status = 0 ]; then
        rows killed.db | cmp -s - want ||
            fail "seed $seed: other rows after $kills kills"
        rm killed.db
        last=-1 span_ms=$((span_ms * 4 / 5 + 1))
    fi
done
[ $parts -ge 3 ] || fail "seed $seed: $kills kills gave $parts parts only"
trace -o killed.db --resume || fail "seed $seed: cannot be completed"
rows killed.db | cmp -s - want || fail "seed $seed: other rows after $kills kills"
[ -z "$(ls | grep -e '-journal' -e '\.tmp')" ] || fail "left behind: $(ls)"

# Interrupted: 130, one line, and what is complete stays. When SIGINT comes
# before the first document is complete, nothing does.
stopped=0 tries=0 span_ms=$whole_ms
while [ $stopped = 0 ] && [ $tries -lt 60 ]; do
    tries=$((tries + 1)) kills=$((kills + 1)) got=0
    stop_after INT "$(random $((span_ms / 4)) $((span_ms * 3 / 4)))" -o stopped.db ||
        got=$?
    [ ! -s out ] || fail "interrupted: something on standard output"
    if [ $got = 0 ]; then
        rm stopped.db
        span_ms=$((span_ms * 4 / 5 + 1))
    elif [ -e stopped.db ]; then
        stopped=1
        [ $got = 130 ] || fail "interrupted: exit $got"
        [ "$(wc -l <err)" = 1 ] || fail "interrupted: $(cat err)"
        grep -q 'interrupted; stopped.db holds [0-9]* whole documents' err ||
            fail "interrupted: $(cat err)"
        whole stopped.db SIGINT
        "$moetrace" info stopped.db --verify --csv | grep -qx complete,no ||
            fail "info does not say that a stopped run is incomplete"
        trace -o stopped.db --resume || fail "cannot go on after SIGINT"
        rows stopped.db | cmp -s - want || fail "other rows after SIGINT"
    else
        span_ms=$((span_ms * 5 / 4))
    fi
done
[ $stopped = 1 ] || fail "no run was interrupted in the middle"

# Complete: nothing is left to do, and nothing changes.
trace -o full.db --resume || fail "a complete trace cannot be resumed"
rows full.db | cmp -s - want || fail "resuming a complete trace changed it"

# What must not be resumed, naming both values.
cp full.db kept.db
tiny other 2
cp -r texts changed
echo more >>changed/101.txt
refused 'model digest sha256:.*, now sha256:' other texts
refused 'with context 64, now 32' model texts -c 32
refused 'with BOS policy each window, now none' model texts --no-bos
refused 'with corpus texts, now changed' model changed
refused 'with batch size 300, now 400' model texts --batch 400
refused 'with shard 1/1, now 1/2' model texts --shard 1/2
refused 'with backend [a-z]*, now ref' model texts -b ref --precision exact
sqlite3 full.db "UPDATE t_run SET value = 'changed' WHERE key = 'corpus'"
cp full.db kept.db
refused 'changed: another corpus: the digest of its first 24' model changed

# A file size limit, and a full file system: one line, and whole documents.
got=0
(ulimit -f 400 && trace --commit 0 -o limited.db 2>err) || got=$?
[ $got = 1 ] || fail "a size limit: exit $got"
grep -q 'limited.db: .*; limited.db holds' err ||
    fail "a size limit: $(cat err)"
whole limited.db 'a size limit'
told()
{
    n=$(sed -n 's/.* holds \([0-9]*\) whole.*/\1/p' err)
    [ "$n" = "$(sqlite3 "$1" 'SELECT count(*) FROM document')" ] ||
        fail "$1: other documents than $(cat err)"
}
told limited.db
trace -o limited.db --resume
rows limited.db | cmp -s - want || fail "other rows after a size limit"

mkdir small
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=400k none small 2>/dev/null; then
    mounted=1
    got=0
    trace --commit 0 -o small/run.db 2>err || got=$?
    [ $got = 1 ] || fail "a full disk: exit $got"
    grep -q 'small/run.db: No space left on device; small/run.db holds' err ||
        fail "a full disk: $(cat err)"
    [ "$(wc -l <err)" = 1 ] || fail "a full disk: $(cat err)"
    whole small/run.db 'a full disk'
    told small/run.db
    mount -o remount,size=64m small
    trace -o small/run.db --resume
    rows small/run.db | cmp -s - want || fail "other rows after a full disk"
fi
exit $rc
