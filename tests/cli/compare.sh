#!/bin/sh
# moetrace compare: its formats, and what it refuses.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"

# Two documents of three tokens, two experts of four; b differs in one token.
cat >"$dir/a.csv" <<'END'
document,position,layer,rank,expert
0,0,0,0,1
0,0,0,1,2
0,1,0,0,1
0,1,0,1,0
0,2,0,0,3
0,2,0,1,1
1,0,0,0,1
1,0,0,1,2
END
sed 's/^0,1,0,1,0$/0,1,0,1,3/' "$dir/a.csv" >"$dir/b.csv"
sed '$d' "$dir/a.csv" | sed '$d' >"$dir/c.csv"
for x in a b c; do
    "$moetrace" import csv "$dir/$x.csv" -o "$dir/$x.db" -q ||
        fail "$x.csv is not imported"
done
"$moetrace" compare "$dir/a.db" "$dir/b.db" --by none --csv >"$dir/out" ||
    fail "compare fails"
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
         NR == 2 { exit !($at["same_first"] == 1 && $at["same_set"] == 0.75 &&
                          $at["shared"] == 0.875 && $at["n"] == 4) }' \
    "$dir/out" || fail "not what was planted: $(cat "$dir/out")"
"$moetrace" compare "$dir/a.db" "$dir/b.db" --json | grep -q changed_shares ||
    fail "--json lacks changed_shares"
"$moetrace" compare "$dir/a.db" "$dir/b.db" "$dir/a.db" -o "$dir/s.txt" &&
    grep -q 'saturation' "$dir/s.txt" || fail "no saturation of three traces"

# refuse STATUS WORD ARGUMENT...: that exit status, one line with that word.
refuse()
{
    want=$1 word=$2 got=0
    shift 2
    "$moetrace" compare "$@" >"$dir/out" 2>"$dir/err" || got=$?
    [ "$got" = "$want" ] || fail "compare $*: exit $got, $want expected"
    [ "$(wc -l <"$dir/err")" = 1 ] && [ ! -s "$dir/out" ] ||
        fail "compare $*: not one line on standard error"
    grep -q "$word" "$dir/err" || fail "compare $*: no '$word' in: $(cat "$dir/err")"
}
refuse 2 'A.db' "$dir/a.db"
refuse 2 'between 40 and' "$dir/a.db" "$dir/b.db" --resamples 1
refuse 1 'c.db' "$dir/a.db" "$dir/c.db"
refuse 1 'none.db' "$dir/a.db" "$dir/none.db"
refuse 1 'layer 3' "$dir/a.db" "$dir/b.db" --layers 3
exit $rc
