#!/bin/sh
# moetrace tokenize: text to ids and back, tables, and what it refuses.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
cd "$TOP_SRCDIR"
tokenize()
{
    "$TOP_BUILDDIR/moetrace" tokenize "$@"
}
model=datasets/demo/model

# is WANT COMMAND...: standard output is WANT and a newline.
is()
{
    want=$1
    shift
    got=$("$@" 2>"$dir/err") || fail "$*: fails: $(cat "$dir/err")"
    [ "$got" = "$want" ] || fail "$*: prints '$got', not '$want'"
}

printf 'abc abc' >"$dir/abc"
printf '' >"$dir/empty"
is '544 3984 544 3984' tokenize $model "$dir/abc" --ids
is '1 544 3984 544 3984' tokenize $model/tokenizer.model "$dir/abc" --ids --bos
is '544 3984 544 3984' tokenize $model - --ids <"$dir/abc"
is '544 3984 544 3984' tokenize $model -i <"$dir/abc"
is '' tokenize $model --ids "$dir/empty"
is '1' tokenize $model --ids --bos "$dir/empty"
[ "$(tokenize $model --ids "$dir/empty" | wc -c)" = 1 ] || fail "no empty line"
printf 'a' >"$dir/a"
is '260' tokenize tests/golden/tokenizer/gguf/vocabulary.gguf --ids "$dir/a"

# Every bundled text comes back byte for byte.
n=0
for f in $(find datasets/demo/corpus/docs datasets/demo/corpus/github -name '*.txt' | sort); do
    tokenize $model --ids "$f" >"$dir/ids"
    tokenize $model --decode "$dir/ids" | cmp - "$f" || fail "$f does not come back"
    n=$((n + 1))
done
[ $n -gt 20 ] || fail "only $n texts"
printf '1 544\n3984 2\n' >"$dir/lines"
is 'abc' tokenize $model --decode "$dir/lines"
is 'abc' tokenize $model -d - <"$dir/lines"
is '' tokenize $model --decode "$dir/empty"

is 'id,count,share,kind,piece
544,2,0.5,normal,▁ab
3984,2,0.5,normal,c' tokenize $model --counts --csv "$dir/abc"
is 'position,id,kind,bytes,piece
0,544,normal,3,▁ab
1,3984,normal,1,c
2,544,normal,3,▁ab
3,3984,normal,1,c' tokenize $model --csv "$dir/abc"
tokenize $model "$dir/abc" | grep -q '4 tokens for 7 characters in 7 bytes' ||
    fail "no counts below the table"
tokenize $model --json "$dir/abc" | grep -q '"name": *"tokens"' || fail "no JSON"

# Bytes that are no UTF-8: U+FFFD, or themselves.
printf 'a\377b' >"$dir/bad"
tokenize $model --ids "$dir/bad" >"$dir/replaced" 2>"$dir/err"
grep -q 'bad: 1 bytes are no UTF-8; each became U+FFFD' "$dir/err" || fail "no warning"
tokenize $model --ids --bytes "$dir/bad" >"$dir/kept" 2>"$dir/err"
grep -q 'a token of its own' "$dir/err" || fail "no warning"
grep -qw 258 "$dir/kept" || fail "the byte 255 has not become its piece"
grep -qw 258 "$dir/replaced" && fail "the byte 255 was kept"
tokenize -q $model --ids "$dir/bad" 2>&1 >"$dir/out" | grep . && fail "-q talks"

echo '544 4096' >"$dir/high"
printf '544\n3984 x7\n' >"$dir/word"
echo '-1' >"$dir/negative"
refuses 1 "$dir/high:1: id 4096 in a vocabulary of 4096" tokenize $model -d "$dir/high"
refuses 1 "$dir/word:2: 'x7' is not a token id" tokenize $model -d "$dir/word"
refuses 1 "$dir/negative:1: '-1' is not a token id" tokenize $model -d "$dir/negative"
refuses 1 "$dir/none: No such file" tokenize $model "$dir/none"
refuses 1 "$dir/none: No such file" tokenize $model --decode "$dir/none"
refuses 1 "$dir/none: No such file" tokenize "$dir/none" "$dir/abc"
refuses 1 'not a SentencePiece model' tokenize $model/config.json "$dir/abc"
refuses 1 'no tokenizer.model in this folder' tokenize "$dir" "$dir/abc"
refuses 1 "$dir: cannot read: Is a directory" tokenize $model "$dir"
refuses 2 'MODEL' tokenize
refuses 2 '--decode goes with MODEL alone' tokenize $model "$dir/abc" -d "$dir/abc"
refuses 2 '--ids excludes --counts' tokenize $model "$dir/abc" --ids --counts
if [ -w /dev/full ]; then
    "$TOP_BUILDDIR/moetrace" tokenize $model --ids "$dir/abc" >/dev/full 2>"$dir/err" &&
        fail "a full disk is no failure"
    grep -q 'standard output: No space left' "$dir/err" || fail "full disk: $(cat "$dir/err")"
fi
exit $rc
