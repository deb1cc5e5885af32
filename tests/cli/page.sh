#!/bin/sh
# The page in a browser: no error, charts and explorer are drawn, hostile text
# is shown and never runs. Skipped where there is no Chromium.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
chromium=$(command -v chromium || command -v chromium-browser) || exit 77
cd "$dir"

awk 'BEGIN {
    evil = "<img src=x onerror=console.error(1)></script><script>console.error(2)</script>"
    print "document,position,layer,rank,expert,gate,margin,nll,vocab,piece,domain,language,title"
    for (d = 0; d < 2; d++) for (p = 0; p < 40; p++) for (l = 0; l < 3; l++)
        for (r = 0; r < 2; r++)
            printf "%d,%d,%d,%d,%d,%s,0.5,%s,%d,%s,%s,%s,%s\n", d, p, l, r,
                (p * (d + 1) + l + r) % 4, r ? "0.25" : "0.75",
                p ? "1.5" : "", p % 7, p % 7 == 3 ? evil : "w" p % 7,
                d ? evil : "arxiv", d ? "de" : "en", evil
}' >routes.csv
"$moetrace" import csv routes.csv -q -o run.db
"$moetrace" report run.db -o out -q >page

timeout 60 "$chromium" --headless --no-sandbox --disable-gpu \
    --enable-logging=stderr --v=0 --virtual-time-budget=3000 \
    --user-data-dir="$dir/profile" --dump-dom "file://$dir/out/index.html" \
    >dom 2>log || {
    echo "chromium does not run here: $(tail -n 1 log)"
    exit 77
}
if grep CONSOLE log; then
    fail "the console is not empty"
fi
grep -q '<html lang="en" class="js">' dom || fail "the script did not run"
[ "$(grep -o '<rect' dom | wc -l)" -ge 40 ] || fail "the bars are not drawn"
grep -o 'data-i="39"' dom >hits || fail "the explorer is not drawn"
grep -q '<img' dom && fail "a title became markup"
grep -q '&lt;img src=x onerror' dom || fail "the hostile title is not shown"
exit $rc
