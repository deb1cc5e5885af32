#!/bin/sh
# moetrace bench measures models from files and random ones, counts operations
# as its page says, and refuses what does not exist.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
rc=0
fail()
{
    echo "$*"
    rc=1
}
moetrace=$TOP_BUILDDIR/moetrace
model=$TOP_SRCDIR/tests/golden/mixtral-docs-bf16/model
export TMPDIR="$dir/tmp"
mkdir "$TMPDIR"

# A line for each backend and precision that exists; small models include ref.
"$moetrace" bench "$model" -n 40 --length 9 -r 2 --csv >"$dir/all" ||
    fail "a model from files cannot be measured"
head -1 "$dir/all" | grep -q '^backend,precision,tokens_per_s,' ||
    fail "no header line"
grep -q '^openblas,exact,[0-9]' "$dir/all" || fail "openblas is missing"
grep -q '^ref,exact,[0-9]' "$dir/all" || fail "ref is missing"
grep -q '^ref,exact,experts,' "$dir/all" || fail "no time for experts"
grep -q '^openblas,exact,.*,1\(\.0*\)\?,[0-9.e-]*$' "$dir/all" ||
    fail "openblas is not the baseline"

# 2 x (2 x 128 x 128 + 2 x 128 x 64 + 2 x 3 x 128 x 192) = 393,216.
for type in f32 bf16 q8_0 Q4_0; do
    "$moetrace" bench --shape demo --layers 1 -t $type -n 33 -r 1 -b openblas \
        --precision exact >"$dir/text" || fail "type $type cannot be measured"
    grep -q '0\.4 MFLOP a token and layer' "$dir/text" ||
        fail "operations are not counted as the page says"
    [ "$(grep -c '^openblas' "$dir/text")" = 6 ] ||
        fail "$type: not one rate and five stages"
done
"$moetrace" bench --shape demo -l 1 -n 16 -r 1 -b openblas --precision exact \
    --no-nll --json >"$dir/json" || fail "no JSON"
grep -q '"head"' "$dir/json" && fail "--no-nll has a head all the same"
grep -q '"router"' "$dir/json" || fail "no router in JSON"
[ -z "$(ls "$TMPDIR")" ] || fail "a trace was left behind"

# refuse STATUS TEXT ARGUMENT...
refuse()
{
    status=$1 text=$2 got=0
    shift 2
    "$moetrace" bench "$@" >"$dir/stdout" 2>"$dir/stderr" || got=$?
    [ $got = "$status" ] || fail "bench $*: status $got, not $status"
    [ "$(wc -l <"$dir/stderr")" = 1 ] || fail "bench $*: not one line"
    [ ! -s "$dir/stdout" ] || fail "bench $*: something on standard output"
    grep -qFe "$text" "$dir/stderr" || {
        cat "$dir/stderr"
        fail "bench $*: no '$text'"
    }
}
refuse 2 "a MODEL or --shape is needed" -n 5
refuse 2 "not both" "$model" --shape demo
refuse 2 "--tokens" "$model" -n 0
refuse 1 "no shape 'gpt'" --shape gpt
refuse 1 "no type of weights" --shape demo -t i32
refuse 1 "whole blocks" --shape demo -t q4_k
refuse 1 "no backend 'cublas'" --shape demo -b cublas
refuse 1 "no precision 'sloppy'" --shape demo --precision sloppy
refuse 1 "nowhere" "$dir/nowhere"
exit $rc
