#!/bin/sh
# moetrace bench measures models from files and random ones, counts operations
# as its page says, and refuses what does not exist.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
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
grep -q '^openblas,exact,.*,1\(\.0*\)\?$' "$dir/all" ||
    fail "openblas is not the baseline"
for stage in read convert embed attention router experts head record write; do
    grep -q "^openblas,exact,$stage,[0-9]" "$dir/all" || fail "no time for $stage"
done

# 2 x (2 x 128 x 128 + 2 x 128 x 64 + 2 x 3 x 128 x 192) = 393,216.
for type in f32 bf16 q8_0 Q4_0; do
    "$moetrace" bench --shape demo --layers 1 -t $type -n 33 -r 1 -b openblas \
        --precision exact >"$dir/text" || fail "type $type cannot be measured"
    grep -q '0\.4 MFLOP a token and layer' "$dir/text" ||
        fail "operations are not counted as the page says"
    [ "$(grep -c '^openblas  ' "$dir/text")" = 10 ] ||
        fail "$type: not one rate and nine stages"
    grep -q 'recording takes [0-9.]* % of the processor time' "$dir/text" ||
        fail "$type: the cost of recording is not told"
done
"$moetrace" bench --shape demo -l 1 -n 16 -r 1 -b openblas --precision exact \
    --no-nll --json >"$dir/json" || fail "no JSON"
grep -q '"head"' "$dir/json" && fail "--no-nll has a head all the same"
grep -q '"router"' "$dir/json" || fail "no router in JSON"
[ -z "$(ls "$TMPDIR")" ] || fail "a trace was left behind"

# A program that answers as llama-bench does, with talk around it.
fake()
{
    printf '#!/bin/sh\necho "loading $*"\necho "[not JSON"\n%s\n' "$2" >"$dir/$1"
    chmod +x "$dir/$1"
}
entry='"build_commit": "abc123", "model_type": "toy F32", "n_ubatch": 512'
answer="echo '[{ \"n_prompt\": 40, \"n_gen\": 8, \"n_threads\": 2, \"avg_ts\": 9 },
  { $entry, \"n_prompt\": 40, \"n_gen\": 0, \"n_threads\": 2,
    \"avg_ts\": 160.0 }]'; echo done"
fake llama-bench "$answer"
gguf=$dir/model.gguf
"$TOP_BUILDDIR/tests/tiny" --layout gguf -o "$gguf" >/dev/null ||
    fail "no GGUF file"
"$moetrace" bench "$gguf" -n 40 -r 2 --threads 2 -b openblas \
    --llama-bench "$dir/llama-bench" >"$dir/llama" || fail "llama-bench fails"
grep -q '^llama-bench  *- *160\.0  *160\.0  *160\.0' "$dir/llama" ||
    fail "the speed of llama-bench is not shown"
grep -q 'llama-bench: build abc123, toy F32, 512 tokens at once' "$dir/llama" ||
    fail "the build of llama-bench is not shown"
grep -q 'without the output matrix' "$dir/llama" ||
    fail "the output matrix is computed beside llama-bench"
mkdir "$dir/other"
fake other/llama-bench "echo '{ \"n_prompt\": 40, \"n_gen\": 0,' \
    '\"n_threads\": 2, \"avg_ts\": 80.5 }'"
"$moetrace" bench "$gguf" -n 40 -r 1 --threads 2 -b openblas --csv \
    --llama-bench "$dir/llama-bench" --llama-bench "$dir/other/llama-bench" \
    >"$dir/two" || fail "two programs fail"
grep -q "^$dir/llama-bench,,160," "$dir/two" || fail "the first is missing"
grep -q "^$dir/other/llama-bench,,80.5," "$dir/two" ||
    fail "a program that prints lines of JSON is missing"
fake broken 'echo "cannot load" >&2; exit 3'
fake silent 'exit 0'
fake other-threads "echo '[{ \"n_prompt\": 40, \"n_gen\": 0,' \
    '\"n_threads\": 3, \"avg_ts\": 80.5 }]'"
fake shot 'kill -9 $$'

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
set -- "$gguf" -n 40 -r 1 --threads 2 -b openblas --llama-bench
refuse 1 "broken: failed with status 3: cannot load" "$@" "$dir/broken"
refuse 1 "silent: its output tells no speed" "$@" "$dir/silent"
refuse 1 "40 tokens with 2 threads" "$@" "$dir/other-threads"
refuse 1 "shot: ended by signal 9" "$@" "$dir/shot"
refuse 1 "missing: cannot be run" "$@" "$dir/missing"
refuse 2 "not --shape" --shape demo --llama-bench "$dir/llama-bench"
refuse 2 "one sequence" "$gguf" --length 9 --llama-bench "$dir/llama-bench"

# A wish to stop ends the other program as well.
fake slow 'exec sleep 60'
"$moetrace" bench "$@" "$dir/slow" 2>/dev/null &
pid=$!
sleep 1
kill -INT $pid
got=0
wait $pid || got=$?
[ $got = 130 ] || fail "stopped beside llama-bench: status $got, not 130"
exit $rc
