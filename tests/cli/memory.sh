#!/bin/sh
# moetrace trace --memory: a model several times larger than the bound is traced
# within it, to the same routes; a bound that is too small names one that works.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
command -v sqlite3 >/dev/null || exit 77
# Sanitizers hold much more memory than the program does.
grep -q '^SAN_FLAGS = *[^ ]' "$TOP_BUILDDIR/Makefile" && exit 77
cd "$dir"

# 12 layers of 22 MB, of which an expert is 2.4 MB.
"$TOP_BUILDDIR/tests/tiny" --layout gguf --layers 12 --dim 320 --ffn 640 \
    --heads 5 --kv-heads 5 --vocab 1000 -o big.gguf || fail "no model was made"
[ "$(wc -c <big.gguf)" -gt 200000000 ] || fail "the model is too small"
head -c 3000 "$TOP_SRCDIR/README.md" >text

# bounded FILE MEBIBYTES OPTION...: the peak is under the bound.
bounded()
{
    file=$1 size=$2
    shift 2
    "$TOP_BUILDDIR/tests/peak" peak "$moetrace" trace -q big.gguf text -c 256 \
        --threads 2 -o "$file" --memory "${size}M" "$@" 2>err || {
        fail "--memory ${size}M: $(cat err)"
        return 0
    }
    [ "$(cat peak)" -le $((size * 1024)) ] ||
        fail "--memory ${size}M: $(cat peak) kB were held"
}
# routes A B: the same choices.
same()
{
    got=$(sqlite3 "$1" "ATTACH '$2' AS b; SELECT count(*),
        sum(s.expert <> t.expert) FROM main.selection s JOIN b.selection t
        USING(document, position, layer, rank)")
    [ "$got" = "$(sqlite3 "$2" 'SELECT count(*) FROM selection')|0" ] ||
        fail "$1 and $2 differ: $got"
}
"$moetrace" trace -q big.gguf text -c 256 -o free.db --precision exact ||
    fail "no trace without a bound"
bounded large.db 96 --precision exact
same large.db free.db
bounded split.db 96

# Batches so small that some experts have no token: those are not waited for.
"$moetrace" trace -q big.gguf text -c 16 --batch 16 -n 48 -o few-free.db \
    --precision exact || fail "no trace of few tokens"
"$TOP_BUILDDIR/tests/peak" peak "$moetrace" trace -q big.gguf text -c 16 \
    --batch 16 -n 48 -o few.db --precision exact --memory 64M ||
    fail "no trace of few tokens in 64 MiB"
[ "$(cat peak)" -le 65536 ] || fail "few tokens: $(cat peak) kB were held"
same few.db few-free.db

# The least that is named is enough, and is not named for nothing.
if "$moetrace" trace -q big.gguf text -c 256 --threads 2 -o small.db \
    --memory 2M --precision exact 2>err; then
    fail "2 MiB are enough"
fi
[ "$(wc -l <err)" = 1 ] || fail "not one line: $(cat err)"
[ ! -e small.db ] || fail "a trace was left behind"
grep -q ': a memory of 2 MiB, where ' err || fail "not 2 MiB: $(cat err)"
"$moetrace" trace -q big.gguf text -o small.db --memory 1K 2>err1 &&
    fail "1 KiB is enough"
grep -q ': a memory of 1 KiB, where ' err1 || fail "not 1 KiB: $(cat err1)"
least=$(sed -n 's/.* need \([0-9]*\) MiB$/\1/p' err)
[ -n "$least" ] || fail "no least is named: $(cat err)"
if [ -n "$least" ]; then
    # what the program holds already differs from run to run
    bounded small.db $((least + 2)) --precision exact
    same small.db free.db
    "$moetrace" trace -q big.gguf text -c 256 --threads 2 -o less.db \
        --memory $((least - 4))M --precision exact 2>err &&
        fail "less than the least is enough"
fi
exit $rc
