#!/bin/sh
# A model that is cut short while it is traced: one line that names the file, and
# a trace of the documents before, which a whole model completes.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
command -v sqlite3 >/dev/null && command -v truncate >/dev/null || exit 77
cd "$dir"

documents()
{
    sqlite3 -cmd '.timeout 10000' run.db 'SELECT count(*) FROM document' \
        2>/dev/null || echo 0
}

# wait_for N: until the trace holds N documents; the run itself is the clock.
wait_for()
{
    while [ "$(documents)" -lt "$1" ]; do
        [ ! -e ended ] || return 0
        sleep 0.02
    done
}

line()
{
    printf '{"text": "%s"}\n' \
        "$(head -c "$2" "$TOP_SRCDIR/README.md" | tail -c 400 | tr -cd 'a-z ')"
}

"$TOP_BUILDDIR/tests/tiny" --layout gguf --layers 3 --dim 64 --ffn 256 \
    --vocab 1000 -o whole.gguf
for i in 1 2 3 4 5 6; do
    line $i $((i * 500))
done >all.jsonl

# cut SIZE: the model has so many bytes after some documents.
cut()
{
    cp whole.gguf model.gguf
    rm -f run.db ended status
    mkfifo pipe.jsonl
    {
        "$moetrace" trace model.gguf pipe.jsonl -o run.db -c 64 --batch 64 --commit 0 \
            --domain x 2>err >out || echo $? >status
        : >ended
    } &
    {
        head -n 4 all.jsonl
        wait_for 2
        truncate -s "$1" model.gguf
        tail -n 2 all.jsonl
    } >pipe.jsonl || true
    wait
    rm pipe.jsonl
    [ "$(cat status 2>/dev/null)" = 1 ] || fail "cut to $1: $(cat status err)"
    [ "$(wc -l <err)" = 1 ] || fail "cut to $1: not one line: $(cat err)"
    grep -q "model.gguf: cut from $size to $1 bytes" err ||
        fail "cut to $1: $(cat err)"
    [ "$(sqlite3 run.db 'PRAGMA integrity_check')" = ok ] ||
        fail "cut to $1: no whole database"
    [ "$(documents)" -ge 2 ] || fail "cut to $1: $(documents) documents"
    cp all.jsonl pipe.jsonl
    "$moetrace" trace -q whole.gguf pipe.jsonl -o run.db -c 64 --batch 64 \
        --domain x --resume || fail "cut to $1: cannot be resumed"
    rows run.db | cmp -s - want || fail "cut to $1: resumed to other rows"
    rm pipe.jsonl
}
rows()
{
    sqlite3 "$1" "SELECT * FROM selection; SELECT * FROM router;
        SELECT document, position, nll FROM token"
}
size=$(wc -c <whole.gguf)
"$moetrace" trace -q whole.gguf all.jsonl -o want.db -c 64 --batch 64 \
    --domain x || fail "no trace of a whole model"
rows want.db >want
cut 4096
cut $((size - 1)) # less than a page: the rest of it reads as zeros
exit $rc
