#!/bin/sh
# A model is trained, and every command reads its checkpoints. A run that is
# killed at any moment, interrupted, or out of disk goes on to the same bytes.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
mounted=
trap '[ -z "$mounted" ] || umount "$dir/small"; rm -rf "$dir"' EXIT
command -v timeout >/dev/null || exit 77
cd "$dir"

# Two domains with sentences of their own.
mkdir -p texts/law texts/sea/en
awk 'BEGIN { for (i = 0; i < 700; i++)
    print "the court held article " i % 7 " and the judge of case " i * i % 97 }' \
    >texts/law/1.txt
awk 'BEGIN { for (i = 0; i < 300; i++)
    print "a ship sailed " i % 11 " miles past the reef" (i % 100 ? "" : "\n\f") }' \
    >texts/sea/en/1.txt
"$TOP_BUILDDIR/tests/tiny" -o tiny --layers 1 --dim 32 --ffn 32 --heads 2 \
    --kv-heads 1 --seed 1
tokenizer=tiny/tokenizer.model

small="train -q texts --tokenizer $tokenizer --form-feed --layers 2 --dim 16
    --heads 2 --kv-heads 1 --ffn 8 --experts 4 -c 32 -B 4 -s 60 --eval 15
    --log 4 --dtype f32 --save 0"

# train OPTION...: of a small model.
train()
{
    "$moetrace" $small "$@"
}

# same A B: two runs left the same bytes, but for the speed in log.csv.
same()
{
    for f in step-0000000 step-0000001 step-0000032 step-0000060; do
        cmp "$1/$f/model.safetensors" "$2/$f/model.safetensors" || return 1
    done
    cmp "$1/state.safetensors" "$2/state.safetensors" &&
        cmp "$1/held-out.csv" "$2/held-out.csv" &&
        cmp "$1/bigram.csv" "$2/bigram.csv" || return 1
    cut -d, -f 1-7,9- "$1/log.csv" >a.csv
    cut -d, -f 1-7,9- "$2/log.csv" >b.csv
    cmp a.csv b.csv && [ "$(ls "$1")" = "$(ls "$2")" ]
}

# One whole run, which learns something.
begin=$(date +%s%N)
train -o full || fail "a run fails"
whole_run=$(($(date +%s%N) - begin))
[ "$(ls full | tr '\n' ' ')" = "bigram.csv held-out.csv log.csv state.safetensors \
step-0000000 step-0000001 step-0000002 step-0000004 step-0000008 step-0000016 \
step-0000032 step-0000060 " ] || fail "it left $(ls full)"
awk -F, 'NR == 1 { columns = NF; next }
    NF != columns { exit 1 }
    { loss[$1] = $3; if ($9 < 0.25 || $9 > 1 || $11 < 0 || $11 > 2) exit 1 }
    END { if (NR != 16 || columns != 12 || !(loss[60] < 0.8 * loss[4])) exit 1 }' \
    full/log.csv || fail "log.csv: $(cat full/log.csv)"
[ "$(cut -d, -f 2 full/held-out.csv | sort | uniq -c | tr -s ' \n' ' ')" = \
    " 1 domain 11 law 11 sea/en " ] || fail "held-out.csv: $(cat full/held-out.csv)"
awk -F, 'NR > 1 { share += $3; if (!($5 > 0 && $5 < 6)) exit 1 }
    END { if (NR != 3 || share < 0.999999 || share > 1.000001) exit 1 }' \
    full/bigram.csv || fail "bigram.csv: $(cat full/bigram.csv)"
"$moetrace" inspect full/step-0000060 >out || fail "inspect: $(cat out)"
"$moetrace" trace -q full/step-0000060 texts -o run.db || fail "no trace of it"

# Its loss is what the engine finds, and threads change nothing.
train -o again --threads 1 --save 300
same full again || fail "the same command gives other bytes"
train -o other --seed 2 -s 1
cmp -s other/step-0000000/model.safetensors full/step-0000000/model.safetensors &&
    fail "another seed gives the same weights"

# Killed at random moments. On a machine that is busier by now than in the
# first run, one that got nowhere is given more time.
seed=$(date +%N | sed 's/^0*//')
kills=0 parts=0 last=-1 more=1
while [ $kills -lt 12 ]; do
    kills=$((kills + 1))
    delay=$(awk -v s="$seed$kills" -v t=$whole_run -v more=$more \
        'BEGIN { srand(s); print more * (0.1 + rand()) * t / 1.2e9 }')
    status=0
    options="$small -o killed --resume"
    timeout -s KILL "$delay" "$moetrace" $options 2>err || status=$?
    [ $status = 0 ] || [ $status -gt 128 ] ||
        fail "seed $seed, run $kills: $(cat err)"
    now=$(sed 1d killed/log.csv 2>/dev/null | wc -l)
    if [ "$now" = "$last" ]; then
        more=$((more * 2))
    else
        parts=$((parts + 1))
    fi
    last=$now
    if [ $status = 0 ]; then
        same full killed || fail "seed $seed: other bytes after $kills kills"
        rm -r killed
        last=-1
    fi
done
[ $parts -ge 3 ] || fail "seed $seed: $kills kills gave $parts parts only"
train -o killed --resume || fail "seed $seed: cannot be completed"
same full killed || fail "seed $seed: other bytes after $kills kills"

# Interrupted as soon as the log has a row: 130, one line that says how far it
# is. A run that was too quick for that is tried again.
stopped=0 tries=0
while [ $stopped = 0 ] && [ $tries -lt 20 ]; do
    tries=$((tries + 1))
    rm -rf stopped
    "$moetrace" $small -o stopped --save 1000 >out 2>err &
    child=$!
    while kill -0 $child 2>/dev/null &&
        [ "$(sed 1d stopped/log.csv 2>/dev/null | wc -l)" = 0 ]; do
        sleep 0.01
    done
    kill -INT $child 2>/dev/null || true
    got=0
    wait $child || got=$?
    [ ! -s out ] || fail "interrupted: something on standard output"
    [ $got != 0 ] || continue
    stopped=1
    [ $got = 130 ] || fail "interrupted: exit $got"
    grep -q 'interrupted; stopped holds step [1-9][0-9]* of 60' err &&
        [ "$(wc -l <err)" = 1 ] || fail "interrupted: $(cat err)"
    train -o stopped --resume || fail "cannot go on after SIGINT"
    same full stopped || fail "other bytes after SIGINT"
done
[ $stopped = 1 ] || fail "no run was interrupted in the middle: $(cat err)"

# Complete: nothing is left to do, and nothing changes.
cp -r full kept
train -o full --resume || fail "a complete run cannot be resumed"
same full kept || fail "resuming a complete run changed it"

# refused STATUS TEXT OPTION...: one line, and the folder as it was.
refused()
{
    status=$1 text=$2
    shift 2
    refuses "$status" "$text" train "$@"
    same full kept || fail "$*: changed the folder"
}
refused 1 'full: exists already and is not empty; --resume' -o full
refused 1 'begun with lr 0.003[0-9]*, now 0.25' -o full --resume --lr 0.25
refused 1 'begun with seed 1, now 2' -o full --resume --seed 2
refused 1 'begun with context 32, now 16' -o full --resume -c 16
refused 1 'begun with steps 60, now 70' -o full --resume -s 70
refused 1 'begun with experts 4, now 3' -o full --resume --experts 3
mkdir -p more
echo "one more text" >more/1.txt
refused 1 'begun with corpus "[0-9a-f]*", now "' -o full --resume more
cp kept/state.safetensors full/state.safetensors
refused 2 'steps and --tokens exclude each other' -o x --tokens 9
refused 2 'no multiple of --heads' -o x --heads 3
refused 2 'experts per token is 5, not between 1 and 4' -o x --top-k 5
refused 2 'head size 1 is odd' -o x --heads 16
refused 2 'lr-end: 2 is not between 0 and 1' -o x --lr-end 2
refused 2 'checkpoint-ratio: 0.5 is not between 1' -o x --checkpoint-ratio 0.5
refused 2 'output is needed'
refused 1 'a warm-up of 60 steps, and 60 steps' -o x --warmup 60
refused 1 'no domain with the 99999 of a window' -o x -c 99999
[ "$(ls -A x)" = "" ] || fail "a refused run left $(ls -A x)"
mkdir empty
got=0
"$moetrace" train -q empty --tokenizer $tokenizer -o x 2>err || got=$?
[ $got = 1 ] && grep -q 'corpus: 0 tokens in all' err ||
    fail "an empty corpus: $got, $(cat err)"

# A file size limit and a full disk: one line, the last state stays.
got=0
(ulimit -f 40 && train -o limited 2>err) || got=$?
[ $got = 1 ] && [ "$(wc -l <err)" = 1 ] || fail "a size limit: $got, $(cat err)"
train -o limited --resume && same full limited ||
    fail "other bytes after a size limit"
mkdir small
room=$(du -sk full | awk '{ print int($1 * 0.6) }')
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=${room}k none small 2>/dev/null; then
    mounted=1
    got=0
    train -o small/run 2>err || got=$?
    [ $got = 1 ] || fail "a full disk: exit $got"
    grep -q 'No space left on device; small/run holds step [0-9]* of 60' err ||
        fail "a full disk: $(cat err)"
    [ "$(wc -l <err)" = 1 ] || fail "a full disk: $(cat err)"
    mount -o remount,size=64m small
    train -o small/run --resume && same full small/run ||
        fail "other bytes after a full disk"
fi

# A tokenizer of its own, by spm_train.
own()
{
    "$moetrace" train -q texts -o "$1" --vocab "$2" --layers 1 --dim 16 \
        --heads 2 --kv-heads 1 --ffn 8 -c 32 -B 2 -s 2
}
got=0
PATH=/nowhere own none 340 2>err || got=$?
[ $got = 1 ] && grep -q 'Debian: sentencepiece' err && [ "$(wc -l <err)" = 1 ] ||
    fail "without spm_train: $got, $(cat err)"
if command -v spm_train >/dev/null; then
    own spm 340 || fail "no tokenizer can be trained"
    own spm2 340
    cmp spm/tokenizer.model spm2/tokenizer.model ||
        fail "the same text gives another tokenizer"
    cmp spm/tokenizer.model spm/step-0000002/tokenizer.model
    "$moetrace" tokenize spm/step-0000002 texts/law/1.txt --ids | tr ' ' '\n' |
        sort -n | tail -n 1 | grep -qx '3[0-3][0-9]' ||
        fail "it has no piece of its own"
    "$moetrace" tokenize spm/step-0000002 texts/law/1.txt --ids >ids
    got=0
    own large 20000 2>err || got=$?
    [ $got = 1 ] && grep -q 'spm_train: Vocabulary size too high (20000)' err &&
        [ "$(wc -l <err)" = 1 ] || fail "a large vocabulary: $got, $(cat err)"
    [ "$(ls -A large)" = "" ] || fail "it left $(ls -A large)"
    got=0
    "$moetrace" train -q empty -o spm3 2>err || got=$?
    [ $got = 1 ] && grep -q 'no text to train a tokenizer' err ||
        fail "a tokenizer of nothing: $got, $(cat err)"
fi
exit $rc
