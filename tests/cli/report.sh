#!/bin/sh
# moetrace report and moetrace plot: what they leave, and what they refuse.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
cd "$dir"

# Two documents of 40 tokens, two layers, four experts, top 2.
awk 'BEGIN {
    print "document,position,layer,rank,expert,gate,vocab,piece,domain,language"
    for (d = 0; d < 2; d++) for (p = 0; p < 40; p++) for (l = 0; l < 2; l++)
        for (r = 0; r < 2; r++)
            printf "%d,%d,%d,%d,%d,%s,%d,w%d,%s,%s\n", d, p, l, r,
                (p * (d + 1) + l + r) % 4, r ? "0.25" : "0.75", p % 7, p % 7,
                d ? "faq" : "arxiv", d ? "de" : "en"
}' >routes.csv
"$moetrace" import csv routes.csv -q -o run.db

# The whole report, and nothing but its own files.
[ "$("$moetrace" report run.db -o out -q)" = out/index.html ] ||
    fail "the name of the page is not printed"
for f in index.html tables/dictionary.csv tables/csv-metadata.json \
    tables/shares-domain.csv \
    tables/shares-language.csv tables/repeats-domain.csv \
    figures/shares-domain.csv figures/choices-language.csv \
    figures/repeats-domain.gp figures/heatmap-language.gp; do
    [ -s "out/$f" ] || fail "out/$f is missing"
done
ls -A | grep -q tmp && fail "a part folder is left"
"$moetrace" analyze run.db shares --csv >shares.csv
cmp -s shares.csv out/tables/shares-domain.csv ||
    fail "tables/shares-domain.csv is not what analyze writes"

# Every table is described for programs: CSV on the Web, as analyze writes it.
(cd out/tables && ls -- *.csv | grep -v '^dictionary.csv$') >want
sed -n 's/^ *"url": "\(.*\)",$/\1/p' out/tables/csv-metadata.json | sort >got
cmp -s want got || fail "csv-metadata.json describes: $(diff want got)"
"$moetrace" analyze run.db shares --csv -o s.csv
sed -n '/"columns"/,/\]/p' s.csv-metadata.json >want
[ -s want ] || fail "analyze describes no columns"
awk '/"url": "shares-domain.csv"/ { on = 1 } on' out/tables/csv-metadata.json |
    sed -n '/"columns"/,/\]/{p;/\]/q}' >got
cmp -s want got || fail "the columns of shares are described otherwise"

# The same command gives the same files.
cp -r out first
"$moetrace" report run.db -o out --force -q >/dev/null
sed 's/ --force//' out/index.html >again.html
cmp -s first/index.html again.html || fail "the page differs the second time"

# Two runs of the same tokens; the second chooses otherwise at every fifth.
awk -F, 'BEGIN { OFS = "," } NR > 1 && $2 % 5 == 0 { $5 = ($5 + 1) % 4 } 1' \
    routes.csv >other.csv
"$moetrace" import csv other.csv -q -o other.db
[ "$("$moetrace" report run.db other.db -o pair -q)" = pair/index.html ] ||
    fail "no report of two runs"
for f in index.html tables/agreement-domain.csv tables/shares-domain.csv \
    tables/b-shares-domain.csv tables/changed_experts-language.csv \
    figures/changed-domain.gp figures/difference-language.csv; do
    [ -s "pair/$f" ] || fail "pair/$f is missing"
done
"$moetrace" compare run.db other.db --csv | sed '/^$/,$d' >agreement.csv
cmp -s agreement.csv pair/tables/agreement-domain.csv ||
    fail "the report compares otherwise than compare does"
grep -q 'fig-changed' pair/index.html || fail "no figure of what changed"
tr -d '\n' <pair/index.html | grep -q '<strong>20.00.*another set of experts' ||
    fail "a fifth of the tokens changed, and no finding says so"
awk -F, 'NR == 1 || $2 < 30' routes.csv >fewer.csv
"$moetrace" import csv fewer.csv -q -o fewer.db
"$moetrace" report run.db fewer.db -o no -q 2>err && fail "other tokens"
[ "$(wc -l <err)" = 1 ] && grep -q 'fewer.db' err ||
    fail "the refusal of other tokens says: $(cat err)"
[ ! -e no ] && [ ! -e no.tmp ] || fail "a refusal leaves a folder"
"$moetrace" report run.db other.db run.db -o no -q 2>err && fail "three traces"

# What a trace does not hold is said, and no number is made up for it.
grep -q 'holds no margins' out/index.html || fail "no word of missing margins"
grep -qE 'holds no (gates|token ids)|one document' out/index.html &&
    fail "something is said to be missing that is there"
cut -d, -f1-5 routes.csv | awk -F, 'NR == 1 || ($1 == 0 && $3 == 0)' >poor.csv
"$moetrace" import csv poor.csv -q -o poor.db
"$moetrace" report poor.db -o poor -q >/dev/null
tr '\n' ' ' <poor/index.html >page
for what in 'holds no token ids' 'holds no gates' 'holds no margins' \
    'of one domain' 'in one language' 'One layer has a router' \
    'one document' 'fewer tokens than a micro-batch' '>1 layer of 4 experts' \
    'Import the same file'; do
    grep -q "$what" page || fail "of the poorest trace: no word '$what'"
done
for what in '[^a-z]nan[^a-z]' 'id="confidence"' 'id="words"' 'id="effect"' \
    'Intervals are over documents'; do
    grep -q "$what" page && fail "of the poorest trace: '$what'"
done

# What is there stays there.
"$moetrace" report run.db -o out 2>err && fail "an existing folder is replaced"
grep -q 'out: exists' err || fail "no word about the existing folder: $(cat err)"
mkdir other && echo kept >other/file
"$moetrace" report run.db -o other --force 2>err && fail "a folder is replaced"
[ "$(cat other/file)" = kept ] || fail "a file of another folder is gone"
"$moetrace" report nothing.db -o new 2>err && fail "a report of nothing"
[ ! -e new ] && [ ! -e new.tmp ] || fail "a failed report leaves a folder"
"$moetrace" report run.db 2>err && fail "a report without a folder"
[ "$(wc -l <err)" = 1 ] || fail "a usage error is not one line"

# One figure. Its script draws it again from the data beside it.
"$moetrace" plot --list | cut -d' ' -f1 >names
[ "$(cat names | tr '\n' ' ')" = "shares choices repeats heatmap effect lags transitions coactivation languages confidence balance cache parallel overflow " ] ||
    fail "the list of figures is: $(cat names)"
mkdir figs
for f in confidence languages; do
    "$moetrace" plot run.db $f -o figs/$f.svg 2>err &&
        fail "plot $f of a trace without margins or parallel texts"
    [ "$(wc -l <err)" = 1 ] || fail "plot $f: not one line: $(cat err)"
    [ ! -e figs/$f.csv ] || fail "plot $f: a failure leaves data"
done
for f in $(grep -vxE 'confidence|languages' names); do
    "$moetrace" plot run.db "$f" -o "figs/$f.svg" --width 85mm 2>err ||
        fail "plot $f: $(cat err)"
    [ -s "figs/$f.csv" ] && [ -s "figs/$f.gp" ] || fail "plot $f: no data"
    command -v gnuplot >/dev/null || continue
    [ -s "figs/$f.svg" ] || fail "plot $f: no drawing"
    mv "figs/$f.svg" was
    (cd figs && gnuplot "$f.gp" 2>../err) || fail "$f.gp: $(cat err)"
    cmp -s was "figs/$f.svg" || fail "$f.gp draws something else"
done
"$moetrace" plot run.db shares -o figs/shares.svg 2>err && fail "replaced"
"$moetrace" plot run.db shares -o figs/shares.jpg 2>err && fail "a .jpg"
"$moetrace" plot run.db nothing -o figs/x.svg 2>err && fail "an unknown figure"
"$moetrace" plot run.db shares -o "figs/a'b.svg" 2>err && fail "a quote"
"$moetrace" plot run.db shares -o no/such.svg 2>err && fail "a missing folder"

# Without gnuplot: data and scripts, and a note.
mkdir empty
PATH=$dir/empty "$moetrace" plot run.db repeats -o figs/plain.pdf 2>err ||
    fail "plot fails without gnuplot"
grep -q 'gnuplot is not installed' err || fail "no note without gnuplot"
[ -s figs/plain.csv ] && [ -s figs/plain.gp ] || fail "no data without gnuplot"
PATH=$dir/empty "$moetrace" report run.db -o bare 2>err >page ||
    fail "report fails without gnuplot"
[ "$(grep -c 'gnuplot is not installed' err)" = 1 ] ||
    fail "not one note without gnuplot: $(cat err)"
[ -s bare/index.html ] && [ -s bare/figures/shares-domain.gp ] ||
    fail "no report without gnuplot"
grep -q 'shares-domain.svg' bare/index.html && fail "a link to no drawing"
exit $rc
