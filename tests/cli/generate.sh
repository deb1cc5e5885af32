#!/bin/sh
# moetrace generate: text that a seed names, in valid UTF-8; routes that are those
# of moetrace dump over the same ids; what it refuses, in one line.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
command -v sqlite3 >/dev/null || exit 77
cd "$dir"

# refused STATUS TEXT OPTION...: one line that says TEXT, and this exit status.
refused()
{
    status=$1 text=$2
    shift 2
    refuses "$status" "$text" "$moetrace" generate "$@"
}

"$TOP_BUILDDIR/tests/tiny" -o model --layers 3 --dim 32 --ffn 32 --heads 2 \
    --kv-heads 1 --context 64 --vocab 300

# The same text from the same seed, whatever the threads; others from others.
"$moetrace" generate model -p 'a b c' -n 20 >one 2>err || fail "one: $(cat err)"
[ ! -s err ] || fail "something on standard error: $(cat err)"
head -c 5 one | grep -qx 'a b c' || fail "the prompt does not come first"
[ "$(wc -c <one)" -gt 10 ] || fail "nothing was generated"
for threads in 1 2 3; do
    "$moetrace" generate model -p 'a b c' -n 20 --threads $threads >two
    cmp -s one two || fail "$threads threads give other text"
done
"$moetrace" generate model -p 'a b c' -n 20 --seed 1 >two
cmp -s one two && fail "another seed gives the same text"
"$moetrace" generate model -p 'a b c' -n 20 -t 0 >greedy
for option in '--top-k 1' '--top-p 1e-9' '-t 0 --seed 9 -b ref'; do
    "$moetrace" generate model -p 'a b c' -n 20 $option >two
    cmp -s greedy two || fail "$option is not greedy"
done

# The prompt from a file or standard input, byte for byte.
printf 'a b c' >prompt
"$moetrace" generate model --prompt-file prompt -n 20 >two
cmp -s one two || fail "a prompt from a file gives other text"
"$moetrace" generate model --prompt-file - -n 20 <prompt >two
cmp -s one two || fail "a prompt from standard input gives other text"

# Random weights write random bytes: what is printed is UTF-8 all the same.
for seed in 1 2 3 4 5 6; do
    "$moetrace" generate model -p 'caf'"$(printf '\303\251')" -n 50 -t 3 \
        --top-p 1 --seed $seed >bytes
    iconv -f UTF-8 -t UTF-8 bytes >/dev/null || fail "seed $seed: no UTF-8"
    head -c 5 bytes | grep -q "$(printf 'caf\303\251')" ||
        fail "seed $seed: another prompt"
done
printf 'x\377\033y' >odd
"$moetrace" generate model --prompt-file odd -n 1 >bytes 2>err
printf 'x\357\277\275\033y' >want
head -c 6 bytes | cmp -s - want || fail "odd bytes: $(od -c bytes)"
grep -q '1 bytes are not UTF-8' err || fail "no warning: $(cat err)"
if command -v script >/dev/null; then
    script -qec "'$moetrace' generate model --prompt-file odd -n 1" seen \
        >/dev/null </dev/null
    grep -q "$(printf 'x\357\277\275\\\\ey')" seen ||
        fail "a terminal gets an escape: $(cat -v seen)"
fi

# Several samples: all different, the first as if it were alone.
"$moetrace" generate model -p 'a b c' -n 20 --samples 3 >three
[ "$(grep -c -- '^--- sample [123] ---$' three)" = 3 ] || fail "not three samples"
sed 1d three | head -c $(($(wc -c <one))) | cmp -s - one ||
    fail "the first of three samples differs"

# As tables: ids, pieces, probabilities, and how each sample ended.
"$moetrace" generate model -p 'a b c' -n 20 --samples 2 --csv >csv
[ "$(awk -F, '$3 == "generated"' csv | wc -l)" = 40 ] || fail "not 40 tokens"
awk -F, '$3 == "generated" { s[$1] += $NF; n[$1]++ }
    FNR > 1 && NF == 5 && $2 == 20 && $3 == "tokens" { nll[$1] = $4 }
    END { for (i in n) { k++; d = s[i] / n[i] + nll[i]
              if (d > 1e-6 || d < -1e-6) exit 1 }
          exit k != 2 }' csv || fail "mean losses are not those of the tokens"
awk -F, '$3 == "bos" && $2 == 0 && $NF == "" { n++ } END { exit n != 1 }' csv ||
    fail "no BOS, or one with a probability"
"$moetrace" generate model -p 'a b c' -n 20 --json >json
if command -v python3 >/dev/null; then
    python3 - <<'PY' || fail "JSON is not what it should be"
import json
samples, tokens = json.load(open("json"))
assert samples["name"] == "samples" and tokens["name"] == "tokens"
rows = [r for r in tokens["rows"] if r[2] == "generated"]
assert len(rows) == 20 and all(r[0] == 1 and r[5] < 0 for r in rows)
text = samples["rows"][0][4]
assert open("one", encoding="utf-8").read() == "a b c" + text + "\n"
PY
fi

# The database: phases, and the routes and losses of one pass over each document.
for backend in openblas ref; do
    "$moetrace" generate model -p 'a b c' -n 20 --samples 3 -b $backend \
        --precision exact --domain play --language xx -o run.db --force --csv \
        >csv 2>err || fail "$backend: $(cat err)"
    "$moetrace" info run.db --verify >info 2>err || fail "$(cat err)"
    is_in run.db "SELECT count(*), sum(tokens), sum(domain || language = 'playxx'),
        sum(path = 'prompt') FROM document" \
        "3|$(sqlite3 run.db 'SELECT count(*) FROM token')|3|3"
    is_in run.db "SELECT group_concat(phase || n) FROM (SELECT phase, count(*) AS n
        FROM token WHERE document = 1 AND phase <> 'prompt' GROUP BY phase
        ORDER BY min(position))" bos1,generated20
    is_in run.db "SELECT count(*) FROM token AS a JOIN token AS b USING (document)
        WHERE a.phase = 'prompt' AND b.phase = 'generated' AND
        a.position > b.position" 0
    is_in run.db "SELECT count(*) FROM token WHERE (nll IS NULL) <> (phase = 'bos')" 0
    is_in run.db "SELECT value FROM run WHERE key = 'backend'" $backend
    is_in run.db "SELECT count(*) FROM run WHERE key IN ('temperature', 'seed',
        'sampling_top_k', 'sampling_top_p', 'finished')" 5
    sed -n '/^sample,position/,$p' csv >tokens.csv
    sqlite3 run.db ".import --csv tokens.csv listed" "SELECT count(*),
        sum(t.vocab = l.id), max(abs(t.nll + l.logprob)) < 1e-5
        FROM listed AS l JOIN token AS t ON t.position = CAST(l.position AS INT)
        AND t.document = l.sample - 1 WHERE l.phase = 'generated'" >joined
    grep -qx '60|60|1' joined || fail "tables and database differ: $(cat joined)"
    sqlite3 run.db "SELECT group_concat(vocab, ' ') FROM (SELECT * FROM token
        ORDER BY document, position) GROUP BY document ORDER BY document" >ids
    "$moetrace" dump model -i ids -b $backend -o dump.safetensors --force
    "$moetrace" import hf-logits dump.safetensors --top-k 2 -o whole.db --force
    sqlite3 run.db "ATTACH 'whole.db' AS w; SELECT count(*),
        sum(s.expert = t.expert), max(abs(s.gate - t.gate)) < 2e-5,
        (SELECT count(*) FROM main.selection), (SELECT count(*) FROM w.selection)
        FROM main.selection AS s JOIN w.selection AS t
        ON t.layer = s.layer AND t.rank = s.rank AND t.position = s.position +
            (SELECT ifnull(sum(tokens), 0) FROM main.document AS d
             WHERE d.document < s.document)" >joined
    n=$(sqlite3 run.db "SELECT count(*) FROM selection")
    [ "$(cat joined)" = "$n|$n|1|$n|$n" ] ||
        fail "$backend: routes differ from one pass: $(cat joined)"
done

# Analyses know both phases; the same command gives the same rows.
"$moetrace" analyze run.db shares --json >shares || fail "no shares"
grep -q shares_generated shares || fail "the phases are not told apart"
rows()
{
    sqlite3 "$1" "SELECT * FROM document; SELECT * FROM token;
        SELECT * FROM selection; SELECT * FROM router"
}
"$moetrace" generate model -p 'a b c' -n 9 -o a.db >/dev/null
"$moetrace" generate model -p 'a b c' -n 9 -o b.db --threads 1 >/dev/null
rows a.db >a
rows b.db >b
cmp -s a b || fail "the same command gives other rows"

# The context: a warning when it ends a sample, an error when nothing fits.
"$moetrace" generate model -p 'a b c' -n 1000 -t 0 -o full.db --csv >csv 2>err ||
    fail "$(cat err)"
grep -q 'stopped at the context of 64 tokens' err || fail "no note: $(cat err)"
grep -q '^1,[0-9]*,context,' csv || fail "the ending is not told"
is_in full.db "SELECT max(position) FROM token" 63
i=0
while [ $i -lt 64 ]; do
    printf 'b'
    i=$((i + 1))
done >long
refused 1 'leaves no room in a context of 64' model --prompt-file long
"$moetrace" generate model -p b -n 1 --no-bos -o short.db >out
is_in short.db "SELECT count(*), sum(phase = 'bos'), sum(nll IS NULL) FROM token" \
    "$(sqlite3 short.db "SELECT sum(phase = 'prompt') + 1 FROM token")|0|1"

# What is refused leaves every file as it was.
cp a.db before.db
: >empty
refused 2 'one of --prompt and --prompt-file' model
refused 2 'one of --prompt and --prompt-file' model -p a --prompt-file prompt
refused 2 'MODEL' -p a
refused 2 'force needs --output' model -p a -f
refused 2 '--tokens' model -p a -n 0
refused 2 '--samples' model -p a --samples 0
refused 2 'temperature of -1' model -p a -t -1
refused 2 'top-p of 0 ' model -p a --top-p 0
refused 2 'top-p of 1.5' model -p a --top-p 1.5
refused 2 '--top-k' model -p a --top-k -1
refused 2 '--temperature' model -p a -t hot
refused 2 "there is no backend 'gpu'" model -p a -b gpu
refused 1 'prompt: no text' model -p ''
refused 1 'empty: no text' model --prompt-file empty
refused 1 'standard input: no text' model --prompt-file -
refused 1 'nothing: No such file' model --prompt-file nothing
refused 1 'No such file' nothing -p a
refused 1 'a.db: exists already' model -p a -o a.db
refused 1 'No such file' nothing -p a -o a.db --force
refused 1 'not a regular file' model -p a -o . --force
"$TOP_BUILDDIR/tests/tiny" -o mute --no-tokenizer
refused 1 'mute: no tokenizer' mute -p a
cmp -s a.db before.db || fail "a refused run changed its output"

# Failures on the way: NaN weights, a folder that is not there, a file that cannot
# grow.
cp -r model broken
size=$(stat -c %s broken/model.safetensors)
printf '\377\377\377\377\377\377\377\377' |
    dd of=broken/model.safetensors bs=1 seek=$((size - 4096)) conv=notrunc \
        2>/dev/null
for case in 'broken -o a.db --force' 'broken -o new.db' 'model -o no/new.db'; do
    got=0
    "$moetrace" generate $case -p a -n 3 >out 2>err || got=$?
    [ $got = 1 ] || fail "generate $case: exit $got"
done
(
    ulimit -f 40
    got=0
    "$moetrace" generate model -p a -n 3 -o new.db >out 2>err || got=$?
    [ $got = 1 ] || fail "a file that cannot grow: exit $got"
    exit $rc
) || rc=1
# Stopped on the way: what was printed stays, and there is no database.
"$TOP_BUILDDIR/tests/tiny" -o endless --vocab 300 --context 30000
"$moetrace" generate endless -p a -n 29000 -t 0 -o new.db >out 2>err &
while [ "$(wc -c <out)" -lt 20 ]; do
    sleep 0.05
done
kill -TERM $!
got=0
wait $! || got=$?
[ $got = 130 ] || fail "stopped: exit $got"
grep -q interrupted err || fail "stopped: $(cat err)"
cmp -s a.db before.db || fail "a failed run changed its output"
[ ! -e new.db ] || fail "a failed run left a file"
[ -z "$(ls | grep -e '-journal' -e '\.tmp')" ] || fail "left behind: $(ls)"
exit $rc
