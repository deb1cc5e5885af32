#!/bin/sh
# The notebook and the R script of notebooks-data read the views of a trace and find
# the numbers of moetrace analyze. Skipped where Jupyter or R are not installed.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
folder=$TOP_SRCDIR/notebooks-data/repetition
cd "$dir"

# nothing of this machine's user is read or left behind
HOME=$dir MPLCONFIGDIR=$dir PYTHON=
export HOME MPLCONFIGDIR PYTHON
for p in python3 /usr/bin/python3; do
    [ -n "$PYTHON" ] || ! $p -c 'import nbconvert, ipykernel, pandas, matplotlib' \
        2>/dev/null || PYTHON=$p
done
[ -n "$PYTHON" ] || {
    echo "no python3 with nbconvert, ipykernel, pandas and matplotlib"
    exit 77
}
Rscript -e 'library(RSQLite)' >/dev/null 2>&1 || {
    echo "no R with RSQLite"
    exit 77
}

# Domains, windows and BOS; one document without a domain.
"$TOP_BUILDDIR/tests/plant" run.db
command -v sqlite3 >/dev/null && sqlite3 run.db \
    "UPDATE t_document SET domain = '' WHERE id IN (2, 6, 10)"
sh "$folder/run.sh" out run.db >log 2>&1 || {
    cat log
    exit 1
}

"$moetrace" analyze run.db repeats --csv -o all.csv
sed '/^$/,$d' all.csv >want.csv
[ "$(wc -l <want.csv)" -gt 50 ] || fail "want.csv: $(wc -l <want.csv) lines"
# rates and counts to the last digit, chances to 12
for f in want out/figure10; do
    awk -F, -v OFS=, '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
        { print $at["layer"], $at["group"], $at["choice"],
                $at["repeats"], $at["pairs"],
                NR == 1 ? "rate" : sprintf("%.17g", $at["rate"]),
                NR == 1 ? "load" : sprintf("%.12g", $at["chance_load"]),
                NR == 1 ? "uniform" : sprintf("%.12g", $at["chance_uniform"]) }
        ' $f.csv >got
    mv got $(basename $f).cut
done
cmp want.cut figure10.cut || {
    diff want.cut figure10.cut | head
    rc=1
}

# Table 5 is what analyze prints
"$moetrace" analyze run.db repeats --paper-layers | awk '
    $3 == "first" && $4 ~ /%/ { first[$2, $1] = $4 }
    $3 == "any" && $4 ~ /%/ && $5 ~ /%/ && ($2, $1) in first && !done[$2, $1]++ {
        print $2 "," $1 "," first[$2, $1] "," $4 }' | tr -d % | sort >want5
sed 1d out/table5.csv | sort >got5
[ "$(wc -l <want5)" -ge 12 ] || fail "want5: $(cat want5)"
diff want5 got5 || rc=1

for f in figure10.svg figure10.pdf; do
    [ "$(wc -c <out/$f)" -gt 5000 ] || fail "$f is empty"
done
for word in 'First or second choice' '(unknown)' web Layer; do
    grep -qF "$word" out/figure10.svg || fail "figure10.svg lacks '$word'"
done

# What is not there ends in a failure and no files.
if sh "$folder/run.sh" none none.db >log 2>&1 || [ -n "$(ls none)" ]; then
    fail "a trace that is not there: $(cat log)"
fi
exit $rc
