#!/bin/sh
# moetrace verify: exact arithmetic agrees with itself, every decision is counted
# once, and what does not exist is refused.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
model=$TOP_SRCDIR/tests/golden/mixtral-docs-bf16/model

"$moetrace" verify "$model" --csv >"$dir/all" || fail "a model is refused"
head -1 "$dir/all" | grep -q '^backend,precision,default,decisions,same_set,' ||
    fail "no header line"
# The reference is ref itself here: equal to the last bit.
grep -q '^ref,exact,[a-z]*,[0-9]*,1,1,0,0,0$' "$dir/all" ||
    fail "ref differs from itself"
grep -q '^openblas,exact,' "$dir/all" || fail "openblas is missing"
[ "$(grep -c ',yes,' "$dir/all")" = 1 ] || fail "not one default"
# The bins of each case sum up to its decisions, its flips to what is not equal.
awk -F, '
    NF == 9 && $4 ~ /^[0-9]+$/ { n[$1 $2] = $4; other[$1 $2] = $4 * (1 - $5) }
    NF == 7 && $4 ~ /^[0-9]+$/ { sum[$1 $2] += $4; flip[$1 $2] += $5
                                 own[$1 $2] += $6
                                 if ($5 > $4 || $6 > $5) bad = 1 }
    END {
        for (c in n) {
            cases++
            d = flip[c] - other[c]
            if (sum[c] != n[c] || d > 1e-6 || d < -1e-6) bad = 1
            # the first flip of all follows from none
            if ((flip[c] > 0) != (own[c] > 0)) bad = 1
        }
        exit bad || cases < 2
    }' "$dir/all" || fail "bins do not sum up"
# Exact arithmetic of another backend: no flip at a margin of 1e-3 or more.
awk -F, '$2 == "exact" && ($3 == "<1e-2" || $3 == "<1e-1" || $3 == ">=1e-1") &&
    NF == 7 && $5 > 0 { bad = 1 } END { exit bad }' "$dir/all" ||
    fail "exact arithmetic blurs routes"

# Products of activations rounded to bf16 are seen to differ, where there are any.
if grep -q ',fast,' "$dir/all"; then
    grep ',fast,' "$dir/all" | awk -F, 'NF == 9 && !($8 > 0) { bad = 1 }
        END { exit bad }' || fail "fast equals exact"
fi

"$TOP_BUILDDIR/tests/tiny" -o "$dir/tiny" || fail "no model was made"
"$moetrace" verify "$dir/tiny" -b openblas >"$dir/text" ||
    fail "the built-in text is refused"
tr -s ' \n' ' ' <"$dir/text" |
    grep -q '512 tokens of the built-in text' || fail "another text"
printf 'a b c' >"$dir/short"
"$moetrace" verify "$dir/tiny" "$dir/short" -n 3 -b openblas --precision exact \
    >"$dir/text" || fail "a text is refused"
tr -s ' \n' ' ' <"$dir/text" |
    grep -q '3 tokens of .*short; compared with ref exact' ||
    fail "not three tokens of the text"
[ "$(grep -c '^openblas' "$dir/text")" = 6 ] ||
    fail "not one line and five bins"
"$moetrace" verify "$model" -n 1 -b openblas --json >"$dir/json" ||
    fail "one token, which has no loss"
grep -q '"flips"' "$dir/json" || fail "no flips in JSON"

# More windows than one batch holds: each token is compared with itself.
"$TOP_BUILDDIR/tests/tiny" --layers 1 --context 64 -o "$dir/narrow" ||
    fail "no model was made"
awk 'BEGIN { for (i = 0; i < 9000; i++) printf "%d tokens, and more. ", i }' \
    >"$dir/long"
"$moetrace" verify "$dir/narrow" "$dir/short" "$dir/long" -n 17000 \
    -b openblas --precision exact --csv >"$dir/many" ||
    fail "a corpus is refused"
grep -q "^openblas,exact,[a-z]*,17000,1,1," "$dir/many" ||
    fail "not 17,000 tokens, each as it was: $(cat "$dir/many")"
"$moetrace" verify "$dir/narrow" "$dir/short" "$dir/long" -n 30 -b openblas \
    >"$dir/text" || fail "two files are refused"
tr -s ' \n' ' ' <"$dir/text" | grep -q '30 tokens of .*short and more; ' ||
    fail "the corpus is not named"

# In one layer no flip follows from another.
"$moetrace" verify "$dir/narrow" "$dir/long" -n 3000 --csv >"$dir/one" ||
    fail "one layer is refused"
awk -F, 'NF == 7 && $4 ~ /^[0-9]+$/ { n++; bad += $6 != $5 }
    END { exit bad || !n }' "$dir/one" || fail "flips of one layer follow others"

"$TOP_BUILDDIR/tests/tiny" --no-tokenizer -o "$dir/bare" ||
    fail "no model was made"
"$moetrace" verify "$dir/bare" -n 20 -b openblas >"$dir/text" ||
    fail "a model without tokenizer is refused"
tr -s ' \n' ' ' <"$dir/text" | grep -q '20 tokens of pseudo-random ids' ||
    fail "no random ids"

# refuse STATUS TEXT ARGUMENT...
refuse()
{
    status=$1 text=$2 got=0
    shift 2
    "$moetrace" verify "$@" >"$dir/stdout" 2>"$dir/stderr" || got=$?
    [ $got = "$status" ] || fail "verify $*: status $got, not $status"
    [ "$(wc -l <"$dir/stderr")" = 1 ] || fail "verify $*: not one line"
    [ ! -s "$dir/stdout" ] || fail "verify $*: something on standard output"
    grep -qFe "$text" "$dir/stderr" || {
        cat "$dir/stderr"
        fail "verify $*: no '$text'"
    }
}
: >"$dir/empty"
refuse 2 "MODEL" -n 5
refuse 1 "no text" "$dir/tiny" "$dir/empty"
refuse 1 "no tokenizer" "$dir/bare" "$dir/short"
refuse 1 "nowhere" "$dir/tiny" "$dir/nowhere"
refuse 1 "no backend 'cublas'" "$model" -b cublas
refuse 1 "no precision 'sloppy'" "$model" --precision sloppy
exit $rc
