#!/bin/sh
# moetrace trace: the same rows in any batch, thread number and grouping of
# documents; what it warns of and what it refuses, one line each.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
command -v sqlite3 >/dev/null || exit 77
cd "$dir"

# trace OPTION...: quietly, into the file that -o names.
trace()
{
    "$moetrace" trace -q model "$@" 2>err || {
        fail "trace $*: $(cat err)"
        return 1
    }
}

# rows DB: every row that a run decides about, as text.
rows()
{
    sqlite3 "$1" "SELECT * FROM document; SELECT * FROM token;
        SELECT * FROM selection; SELECT * FROM router"
}

# near A B: the same choices, all numbers within 1e-5.
near()
{
    got=$(sqlite3 "$1" "ATTACH '$2' AS b;
        SELECT count(*), sum(s.expert <> t.expert),
            max(abs(s.gate - t.gate)) < 1e-5
        FROM main.selection s JOIN b.selection t
            USING(document, position, layer, rank);
        SELECT max(abs(s.nll - t.nll)) < 1e-4 FROM main.token s
        JOIN b.token t USING(document, position)")
    want=$(sqlite3 "$2" "SELECT count(*) FROM selection")
    [ "$got" = "$want|0|1
1" ] || fail "$1 and $2 differ: $got"
}

# refused STATUS TEXT OPTION...: one line that says TEXT, and this exit status.
refused()
{
    status=$1 text=$2
    shift 2
    refuses "$status" "$text" "$moetrace" trace "$@"
}

"$TOP_BUILDDIR/tests/tiny" -o model --layers 3 --dim 32 --ffn 32 --heads 2 \
    --kv-heads 1 --context 64
mkdir -p texts/a texts/b
i=0
while [ $i -lt 12 ]; do
    i=$((i + 1))
    j=0
    while [ $j -lt $((i * i % 17 * 4)) ]; do
        j=$((j + 1))
        echo "the cat number $i sat on mat $((i * j)) and the day was fine"
    done >"texts/$([ $((i % 2)) = 0 ] && echo a || echo b)/$i.txt"
done

# The same command twice, and what the views say of it.
trace texts -o one.db
trace texts -o two.db
rows one.db >one
rows two.db >two
cmp -s one two || fail "the same command twice gives other rows"
n=$(sqlite3 one.db "SELECT count(*) FROM token")
[ "$n" -gt 5000 ] || fail "only $n tokens"
is_in one.db "SELECT count(*) FROM selection" $((n * 6))
is_in one.db "SELECT count(*) FROM router" $((n * 3))
is_in one.db "SELECT count(*) FROM document" 12
is_in one.db "SELECT value FROM run WHERE key = 'tokens'" "$n"
is_in one.db "SELECT value LIKE '%texts -o one.db' FROM run WHERE key = 'command'" 1
is_in one.db "SELECT sum(tokens) FROM document" "$n"
is_in one.db "SELECT group_concat(DISTINCT domain) FROM document" a,b
is_in one.db "SELECT max(abs(s - 1)) < 1e-4 FROM (SELECT sum(gate) AS s
    FROM selection GROUP BY document, position, layer)" 1
is_in one.db "SELECT count(*) FROM token WHERE (nll IS NULL) <> (phase = 'bos')" 0
is_in one.db "SELECT count(*) FROM token WHERE (position % 64 = 0) <>
    (phase = 'bos')" 0
is_in one.db "SELECT max(window) = max(position) / 64 FROM token" 1
is_in one.db "SELECT min(margin) >= 0 AND max(entropy) <= 3 FROM router" 1
is_in one.db "PRAGMA integrity_check" ok

# Without BOS, the pieces are the text behind the dummy prefix.
text=$TOP_SRCDIR/datasets/demo/corpus/faq/en
text=$text/$(ls "$text" | head -1)
"$moetrace" trace "$TOP_SRCDIR/datasets/demo/model" "$text" -o plain.db \
    --no-bos -c 1000 -n 3000 --no-nll >out 2>err || fail "plain: $(cat err)"
grep -q 'made for 256' err || fail "no warning of a context too long"
sqlite3 plain.db "SELECT group_concat(piece, '') FROM (SELECT piece FROM token
    ORDER BY position)" >pieces
bytes=$(($(wc -c <pieces) - 1))
{
    printf ' '
    cat "$text"
} | head -c $bytes >text
head -c $bytes pieces | cmp -s - text || fail "the pieces are not the text"
[ $bytes -gt 1000 ] || fail "only $bytes bytes of pieces"
is_in plain.db "SELECT count(*) FROM token WHERE nll IS NOT NULL OR phase <>
    'prompt'" 0

# Any batch, any threads, together or apart.
trace texts -o batch.db --batch 64 --threads 1
near batch.db one.db
trace texts -o batch.db --force --batch 777 --threads 2
near batch.db one.db
for i in 1 2 3 4 5; do
    trace texts -o shard$i.db --shard $i/5
    near shard$i.db shard$i.db
    sqlite3 shard$i.db "SELECT group_concat(document) FROM document"
done | sort -n | tr '\n' ' ' | grep -qx '0,5,10 1,6,11 2,7 3,8 4,9 ' ||
    fail "shards are not every fifth document"
sqlite3 shard3.db "ATTACH 'one.db' AS b; SELECT count(*) > 0,
    sum(s.expert <> t.expert), max(abs(s.gate - t.gate)) < 1e-5
    FROM main.selection s JOIN b.selection t
    USING(document, position, layer, rank)" | grep -qx '1|0|1' ||
    fail "a shard differs from the whole"

# Limits cut exactly.
trace texts -o limit.db -n 1000
is_in limit.db "SELECT count(*), max(document) < 11 FROM token" "1000|1"
trace texts -o limit2.db --limit-documents 3
is_in limit2.db "SELECT count(*) FROM document" 3

# All logits: their softmax over the chosen is the gate.
trace texts -o logits.db --limit-documents 2 --record logits
is_in logits.db "SELECT count(*) = 4 * (SELECT count(*) FROM selection) AND
    count(*) > 0 FROM router_logit" 1
is_in logits.db "SELECT max(abs(gate - exp(logit) / e)) < 1e-5 FROM (SELECT gate,
    logit, sum(exp(logit)) OVER (PARTITION BY document, position, layer) AS e
    FROM selection JOIN router_logit USING(document, position, layer, expert))" 1

# Documents that are empty, or no UTF-8.
mkdir odd
: >odd/1.txt
printf 'caf\351 \377' >odd/2.txt
"$moetrace" trace model odd -o odd.db >out 2>err || fail "odd: $(cat err)"
grep -q '1.txt: an empty document' err || fail "no note of an empty document"
grep -q '2.txt: bytes that are not UTF-8' err || fail "no note of UTF-8"
grep -q '^odd.db: 2 documents' out || fail "no closing line"
is_in odd.db "SELECT tokens FROM document WHERE document = 0" 0
is_in odd.db "SELECT value FROM run WHERE key = 'invalid_utf8'" 2
is_in odd.db "SELECT hex(piece) FROM token WHERE position = (SELECT max(position)
    FROM token)" FF

# No text at all is a mistake, not a trace.
: >nothing.txt
got=0
"$moetrace" trace model nothing.txt -q -o nothing.db 2>err || got=$?
[ $got = 1 ] || fail "no text: exit $got"
[ "$(cat err)" = "moetrace trace: nothing.txt: no text in any of 1 documents" ] ||
    fail "no text: $(cat err)"
[ ! -e nothing.db ] || fail "no text: a database is left"

# moetrace info tells the same, and finds what is wrong.
"$moetrace" info one.db --verify --csv >info 2>err || fail "info: $(cat err)"
for line in complete,yes documents,12 "tokens,$n" experts,8 context,64 \
    "bos,each window"; do
    grep -qx "$line" info || fail "info lacks $line"
done
[ "$(awk -F, '$1 == "a" || $1 == "b" { n += $4 } END { print n }' info)" = "$n" ] ||
    fail "info counts other tokens"
cp one.db wrong.db
sqlite3 wrong.db "DELETE FROM t_token WHERE document = 3 AND position = 5"
if "$moetrace" info wrong.db --verify >out 2>err; then
    fail "info --verify passes a trace with a row removed"
fi
grep -q 'wrong.db: damaged: t_token has' err || fail "info: $(cat err)"
[ ! -s out ] || fail "info prints in spite of a failure"

# A bar for people at a terminal, and for nobody else.
"$moetrace" trace model texts -o silent.db >out 2>err || fail "$(cat err)"
[ ! -s err ] || fail "a bar in a file: $(cat err)"
if command -v script >/dev/null; then
    script -qec "'$moetrace' trace model texts -o bar.db" bar >/dev/null </dev/null
    grep -q 'tokens .*layer 1/' bar || fail "no bar: $(cat -v bar)"
fi

# What is refused leaves every file as it was.
cp one.db before.db
refused 1 'one.db: exists already' model texts -o one.db
refused 1 'No such file' model nothing -o one.db --force
refused 1 'No such file' nothing texts -o one.db --force
cmp -s one.db before.db || fail "a refused run changed its output"
refused 2 'output is needed' model texts
refused 2 "'4/3' is not of the form" model texts -o new.db --shard 4/3
refused 2 "there is no backend 'gpu'" model texts -o new.db -b gpu
refused 2 'exclude each other' model texts -o one.db --force --resume
refused 1 'No such file' model texts -o no/folder/new.db
refused 1 'not a regular file' model texts -o . --force
mkdir none
refused 1 'none: no documents' model none -o new.db
"$TOP_BUILDDIR/tests/tiny" -o mute --no-tokenizer
refused 1 'mute: no tokenizer' mute texts -o new.db
[ ! -e new.db ] || fail "a refused run left a file"

# NaN weights: found in the first batch, and nothing is left or replaced.
cp -r model broken
size=$(stat -c %s broken/model.safetensors)
printf '\377\377\377\377\377\377\377\377' |
    dd of=broken/model.safetensors bs=1 seek=$((size - 4096)) conv=notrunc \
        2>/dev/null
refused 1 'NaN\|finite\|nan' broken texts -o new.db
refused 1 'NaN\|finite\|nan' broken texts -o one.db --force
[ ! -e new.db ] || fail "NaN weights left a file"
cmp -s one.db before.db || fail "NaN weights replaced a file"
[ -z "$(ls | grep -e '-journal' -e '\.tmp')" ] || fail "left behind: $(ls)"
exit $rc
