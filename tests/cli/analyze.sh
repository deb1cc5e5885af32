#!/bin/sh
# What moetrace analyze prints is what plain SQL over the views gives, to the
# last digit; and what it refuses.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
db=$dir/run.db

# same WHAT: the files sql and ours hold the same lines, and some.
same()
{
    [ -s "$dir/sql" ] || fail "$1: SQL finds nothing"
    cmp -s "$dir/sql" "$dir/ours" || {
        fail "$1 differs from SQL:"
        diff "$dir/sql" "$dir/ours" | head -10
    }
}

# columns NAME...: these columns of the first table of a CSV without quotes.
columns()
{
    awk -F, -v names="$*" '
    NF == 0 { exit }
    NR == 1 { n = split(names, name, " ")
              for (i = 1; i <= NF; i++) at[$i] = i; next }
    { line = ""
      for (i = 1; i <= n; i++) line = line (i > 1 ? "|" : "") $at[name[i]]
      print line }'
}

command -v sqlite3 >/dev/null || exit 77
"$TOP_BUILDDIR/tests/plant" "$db"

# Shares of either choice by domain at layer 5.
sqlite3 "$db" "
SELECT d.domain, s.expert, printf('%.12f', 1.0 * count(*) / t.n), count(*), t.n
FROM selection s JOIN token k USING (document, position)
JOIN document d USING (document)
JOIN (SELECT domain, count(*) n FROM selection JOIN token
      USING (document, position) JOIN document USING (document)
      WHERE layer = 5 AND phase <> 'bos' GROUP BY domain) t USING (domain)
WHERE s.layer = 5 AND k.phase <> 'bos'
GROUP BY d.domain, s.expert ORDER BY 1, 2" >"$dir/sql"
"$moetrace" analyze "$db" shares --layers 5 --csv |
    columns group expert share count n choice | grep '|either$' |
    awk -F'|' '{ printf "%s|%s|%.12f|%s|%s\n", $1, $2, $3, $4, $5 }' |
    sort -t'|' -k1,1 -k2,2n >"$dir/ours"
same "shares by domain"

# Both rates of repetition by language, every layer, and load-aware chance of
# the first choice.
sqlite3 "$db" "
WITH pick AS (
  SELECT d.language, k.document, k.position, k.window, s.layer,
         max(CASE rank WHEN 0 THEN expert END) a,
         max(CASE rank WHEN 1 THEN expert END) b
  FROM token k JOIN selection s USING (document, position)
  JOIN document d USING (document)
  WHERE k.phase <> 'bos' GROUP BY k.document, k.position, s.layer),
pair AS (
  SELECT x.language, x.layer, x.a = y.a AS same,
         x.a IN (y.a, y.b) OR x.b IN (y.a, y.b) AS share
  FROM pick x JOIN pick y ON y.document = x.document AND y.layer = x.layer
   AND y.window = x.window AND y.position = x.position + 1),
load AS (
  SELECT language, layer, sum(n * n) * 1.0 / (sum(n) * sum(n)) AS chance
  FROM (SELECT language, layer, a, count(*) n FROM pick GROUP BY 1, 2, 3)
  GROUP BY 1, 2)
SELECT layer, language, printf('%.12f', avg(same)), printf('%.12f', avg(share)),
       printf('%.12f', chance), count(*)
FROM pair JOIN load USING (language, layer)
GROUP BY layer, language ORDER BY 1, 2" >"$dir/sql"
"$moetrace" analyze "$db" repeats --by language --resamples 0 --csv |
    columns layer group rate chance_load pairs choice | grep -v '|(all)|' |
    awk -F'|' '
    $6 == "first" { first[$1, $2] = $3; load[$1, $2] = $4 }
    $6 == "any" { printf "%s|%s|%.12f|%.12f|%.12f|%s\n", $1, $2,
                  first[$1, $2], $3, load[$1, $2], $5 }' |
    sort -t'|' -k1,1n -k2,2 >"$dir/ours"
same "repetition by language"

# The ten tokens most bound to expert 3 of layer 5.
sqlite3 "$db" "
WITH told AS (SELECT document, position, vocab FROM token WHERE phase <> 'bos'),
own AS (SELECT vocab, count(*) n FROM told GROUP BY vocab),
hit AS (SELECT vocab, count(*) c FROM told JOIN selection
        USING (document, position) WHERE layer = 5 AND expert = 3
        GROUP BY vocab),
base AS (SELECT (SELECT sum(c) FROM hit) * 1.0 / (SELECT count(*) FROM told) p)
SELECT vocab, printf('%.12f', (c * 1.0 / n) / p), printf('%.12f', c * 1.0 / n),
       c, n
FROM hit JOIN own USING (vocab), base WHERE n >= 10
ORDER BY (c * 1.0 / n) / p DESC, c DESC, vocab LIMIT 10" >"$dir/sql"
"$moetrace" analyze "$db" vocabulary --layers 5 --json >"$dir/json"
awk '/"name": "specialisation"/ { exit } /^    \[5, 3, / {
    gsub(/[][ "]/, ""); split($0, f, ",")
    printf "%s|%.12f|%.12f|%s|%s\n", f[4], f[6], f[7], f[8], f[9] }' \
    "$dir/json" >"$dir/ours"
same "tokens bound to expert 3 of layer 5"

sqlite3 "$db" "
SELECT d.domain, printf('%.9f', avg(nll)), printf('%.9f', exp(avg(nll))),
       count(nll), count(DISTINCT document)
FROM token JOIN document d USING (document) WHERE phase <> 'bos'
GROUP BY d.domain ORDER BY 1" >"$dir/sql"
"$moetrace" analyze "$db" perplexity --csv |
    columns group mean_nll perplexity n documents | grep -v '^(all)' |
    awk -F'|' '{ printf "%s|%.9f|%.9f|%s|%s\n", $1, $2, $3, $4, $5 }' |
    sort >"$dir/ours"
same "perplexity by domain"

# Same input, same bytes, for any number of threads.
"$moetrace" analyze "$db" all --threads 1 --resamples 40 --json >"$dir/one"
"$moetrace" analyze "$db" all --threads 3 --resamples 40 --json >"$dir/three"
cmp -s "$dir/one" "$dir/three" || fail "threads change the result"

# A trace without gates and margins: all is what there is.
printf '%s\n' document,position,layer,rank,expert 0,0,0,0,1 0,0,0,1,2 \
    0,1,0,0,1 0,1,0,1,0 >"$dir/bare.csv"
"$moetrace" import csv "$dir/bare.csv" -o "$dir/bare.db" -q 2>/dev/null ||
    fail "a small CSV file is not imported"
"$moetrace" analyze "$dir/bare.db" all --json >"$dir/out" 2>"$dir/err" ||
    fail "all fails without gates: $(cat "$dir/err")"
grep -q confidence "$dir/err" && grep -q '"name": "balance"' "$dir/out" ||
    fail "all without gates: $(cat "$dir/err")"

# Each table in a file of its own, as CSV on the Web; and what it says of itself
# before CSV.
"$moetrace" analyze "$db" all --resamples 40 -d "$dir/tables" ||
    fail "-d writes no folder"
"$moetrace" analyze "$db" all --resamples 40 --csv >"$dir/one"
"$moetrace" analyze "$db" all --resamples 40 --csv --comments >"$dir/two"
grep -v '^#' "$dir/two" | cmp -s - "$dir/one" ||
    fail "--comments changes more than comments"
meta=$dir/tables/csv-metadata.json
for csv in "$dir"/tables/*.csv; do
    name=$(basename "$csv" .csv)
    grep -q "\"url\": \"$name.csv\"" "$meta" || fail "$name has no metadata"
    grep -q "^# $name: " "$dir/two" || fail "$name has no comment"
    [ "$(head -1 "$csv" | tr ',' '\n' | grep -c .)" -gt 1 ] || fail "$name: no table"
done
tables=$(ls "$dir"/tables/*.csv | grep -c .)
[ "$tables" -eq "$(grep -c '"url"' "$meta")" ] && [ "$tables" -ge 30 ] &&
    [ "$tables" -eq "$(grep -c '^      "dc:description".*hance' "$meta")" ] &&
    [ "$tables" -eq "$(grep -c '^        .*BOS tokens left out' "$meta")" ] &&
    [ "$tables" -eq "$(grep -c '^# .*BOS tokens left out' "$dir/two")" ] ||
    fail "metadata of $tables tables is not whole"
"$moetrace" analyze "$db" shares --csv -o "$dir/s.csv" &&
    cmp -s "$dir/s.csv" "$dir/tables/shares.csv" &&
    grep -q '"url": "s.csv"' "$dir/s.csv-metadata.json" ||
    fail "a CSV file has no metadata beside it"
for wrong in "-d $dir/x -o $dir/y" "-d $dir/x --json" "--comments" "-d $dir/x --html"; do
    "$moetrace" analyze "$db" tokens $wrong >/dev/null 2>&1 && fail "$wrong passes"
    [ $? -eq 2 ] && [ ! -e "$dir/x" ] || fail "$wrong is no usage error"
done

# --compat is what its parts are.
"$moetrace" analyze "$db" shares coactivation vocabulary --compat olmoe --csv >"$dir/one"
"$moetrace" analyze "$db" shares coactivation vocabulary --with-bos --csv \
    --set shares.compat=olmoe --set coactivation.compat=olmoe \
    --set vocabulary.compat=olmoe >"$dir/two"
cmp -s "$dir/one" "$dir/two" || fail "--compat olmoe is not its parts"
# What OLMoE says of domains is of tokens: k times the share of choices, k/E.
"$moetrace" analyze "$db" shares --with-bos --csv |
    columns layer group expert choice share chance | grep '|either|' |
    awk -F'|' '{ printf "%s|%s|%s|%.10f|%s\n", $1, $2, $3, 2 * $5, 2 * $6 }' >"$dir/sql"
"$moetrace" analyze "$db" shares --compat olmoe --csv |
    columns layer group expert choice share chance | grep '|either|' |
    awk -F'|' '{ printf "%s|%s|%s|%.10f|%s\n", $1, $2, $3, $5, $6 }' >"$dir/ours"
same "domain specialisation of OLMoE"
# Of what a trace has not, nothing is made up.
"$moetrace" analyze "$dir/bare.db" all --compat olmoe --json >"$dir/out" 2>"$dir/err" ||
    fail "--compat olmoe fails without token ids: $(cat "$dir/err")"
rc_bare=0
"$moetrace" analyze "$dir/bare.db" vocabulary --compat olmoe \
    >"$dir/out" 2>"$dir/err" || rc_bare=$?
[ "$rc_bare" -eq 1 ] && [ ! -s "$dir/out" ] && [ "$(grep -c . "$dir/err")" -eq 1 ] &&
    grep -q "no token ids" "$dir/err" ||
    fail "vocabulary without token ids: $rc_bare, $(cat "$dir/err")"
"$moetrace" analyze "$db" coactivation --compat olmoe --csv \
    --set coactivation.compat=none >"$dir/one"
"$moetrace" analyze "$db" coactivation --with-bos --csv >"$dir/two"
cmp -s "$dir/one" "$dir/two" || fail "--set does not go before --compat"
"$moetrace" analyze "$db" repeats --compat mixtral-paper --csv >"$dir/one"
"$moetrace" analyze "$db" repeats --paper-layers --csv >"$dir/two"
cmp -s "$dir/one" "$dir/two" || fail "--compat mixtral-paper is not its parts"
"$moetrace" analyze "$db" shares -o "$dir/out.txt" && [ -s "$dir/out.txt" ] ||
    fail "-o writes nothing"
"$moetrace" analyze "$db" tokens --html | grep -q '<section class="moe-tokens">' ||
    fail "--html writes no page"
"$moetrace" analyze "$db" tokens --color always | grep -q "$(printf '\033')" ||
    fail "--color always gives no colour"
"$moetrace" analyze --list | grep -q '^repeats ' || fail "--list lacks repeats"
"$moetrace" analyze --formula repeats | grep -q '1/E' || fail "--formula fails"

# refuse STATUS WORD ARGUMENT...: that exit status, one line with that word.
refuse()
{
    want=$1 word=$2 got=0
    shift 2
    "$moetrace" analyze "$@" >"$dir/out" 2>"$dir/err" || got=$?
    [ "$got" = "$want" ] || fail "analyze $*: exit $got, $want expected"
    [ "$(wc -l <"$dir/err")" = 1 ] && [ ! -s "$dir/out" ] ||
        fail "analyze $*: not one line on standard error"
    grep -q "$word" "$dir/err" || fail "analyze $*: no '$word' in: $(cat "$dir/err")"
}
refuse 2 sharks "$db" sharks
refuse 2 'between 40 and' "$db" domains --resamples 39
refuse 1 'at least 40' "$db" beyond --set beyond.halves=39
refuse 2 'at least one' "$db"
refuse 2 html "$db" shares --html
refuse 2 html "$db" tokens --html --csv
refuse 2 sharks --formula sharks
refuse 1 none.db "$dir/none.db" shares
refuse 1 'layer 6' "$db" shares --layers 6
refuse 1 law2 "$db" shares --only-domain law2
refuse 1 tokens.color "$db" tokens --set tokens.color=3
echo 'no trace' >"$dir/text"
refuse 1 text "$dir/text" shares
exit $rc
