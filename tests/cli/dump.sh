#!/bin/sh
# moetrace dump gives the bundled reference outputs, with every backend, number
# of threads and batch size, and refuses what it cannot read in one line.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
golden=$TOP_SRCDIR/tests/golden

# compare CASE OPTION...
compare()
{
    case=$1
    shift
    model=$golden/$case/model
    [ -d "$model" ] || model=$golden/$case/model.gguf
    "$moetrace" dump "$model" -i "$golden/$case/tokens.txt" \
        -o "$dir/out.safetensors" --force "$@" &&
        "$TOP_BUILDDIR/tests/compare_dumps" "$dir/out.safetensors" \
            "$golden/$case/golden.safetensors" >"$dir/log" || {
        cat "$dir/log"
        fail "$case $*: differs from the reference"
    }
}

for case in mixtral-docs-bf16 mixtral-long-window64-f32 mixtral-version2-f16; do
    for backend in openblas ref; do
        compare $case --backend $backend --threads 1
        compare $case --backend $backend --threads 2 --batch 1
        compare $case --backend $backend --threads 3 --batch 70
    done
done

# The comparison itself can fail: another window gives other numbers.
cp -R "$golden/mixtral-long-window64-f32/model" "$dir/other"
chmod -R u+w "$dir/other"
sed 's/"sliding_window": 64/"sliding_window": 63/' \
    "$golden/mixtral-long-window64-f32/model/config.json" >"$dir/other/config.json"
"$moetrace" dump "$dir/other" -i "$golden/mixtral-long-window64-f32/tokens.txt" \
    -o "$dir/window63"
"$TOP_BUILDDIR/tests/compare_dumps" "$dir/window63" \
    "$golden/mixtral-long-window64-f32/golden.safetensors" >"$dir/log" &&
    fail "a window of 63 keys passes for one of 64"

# refuse STATUS TEXT ARGUMENT...: one line with the text, nothing written.
refuse()
{
    status=$1 text=$2 got=0
    shift 2
    rm -f "$dir/new"
    "$moetrace" dump "$@" >"$dir/stdout" 2>"$dir/stderr" || got=$?
    [ $got = "$status" ] || fail "dump $*: status $got, not $status"
    [ "$(wc -l <"$dir/stderr")" = 1 ] || fail "dump $*: not one line"
    grep -qFe "$text" "$dir/stderr" || {
        cat "$dir/stderr"
        fail "dump $*: no '$text'"
    }
    [ ! -s "$dir/stdout" ] || fail "dump $*: something on standard output"
    [ ! -e "$dir/new" ] && [ ! -e "$dir/new.tmp" ] ||
        fail "dump $*: left a file"
}

model=$golden/mixtral-docs-bf16/model
ids=$golden/mixtral-docs-bf16/tokens.txt
printf '1 2\n3 x4 5\n' >"$dir/word"
printf '1 2\n\n3 -4\n' >"$dir/negative"
printf '119\n120\n' >"$dir/high"
printf '99999999999999999999\n' >"$dir/huge"
printf '\n\n' >"$dir/none"
: >"$dir/empty"
: >"$dir/there"
refuse 1 "word:2: 'x4' is not a token id" "$model" -i "$dir/word" -o "$dir/new"
refuse 1 "negative:3: '-4'" "$model" -i "$dir/negative" -o "$dir/new"
refuse 1 "high:2: id 120 in a vocabulary of 120" "$model" -i "$dir/high" -o "$dir/new"
refuse 1 "huge:1: id 99999999999999999999" "$model" -i "$dir/huge" -o "$dir/new"
refuse 1 "none: no token ids" "$model" -i "$dir/none" -o "$dir/new"
refuse 1 "empty: no token ids" "$model" -i "$dir/empty" -o "$dir/new"
refuse 1 "missing" "$model" -i "$dir/missing" -o "$dir/new"
refuse 1 "missing" "$dir/missing" -i "$ids" -o "$dir/new"
refuse 1 "there: exists already" "$model" -i "$ids" -o "$dir/there"
refuse 1 "nowhere" "$model" -i "$ids" -o "$dir/nowhere/new"
refuse 1 "no precision 'fast'" "$model" -i "$ids" -o "$dir/new" --precision fast -b ref
refuse 2 "there is no backend 'cublas'" "$model" -i "$ids" -o "$dir/new" -b cublas
refuse 2 "--output is missing" "$model" -i "$ids"
refuse 2 "--ids is missing" "$model" -o "$dir/new"

# An empty line is a document without tokens: the same numbers, one more offset.
printf '1 2 3\n\n4 5' >"$dir/gap"
"$moetrace" dump "$model" -i "$dir/gap" -o "$dir/gap.out" ||
    fail "an empty document is refused"

# A file that cannot grow is told, and nothing stays behind.
(
    ulimit -f 1
    trap '' XFSZ
    refuse 1 "$dir/new" "$model" -i "$ids" -o "$dir/new"
    exit $rc
) || rc=1
exit $rc
