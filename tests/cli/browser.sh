#!/bin/sh
# The pages in a real Chromium, by keyboard, on paper, at three sizes, light and
# dark, with hostile documents, and looked over by axe-core. Skipped, with a
# word on why, where Chromium, node or the packages of tests/browser are not
# there: `make browser-tools` fetches those.
set -eu
moetrace=$TOP_BUILDDIR/moetrace
skip()
{
    echo "$* (skipped)"
    exit 77
}
modules=$(cd "$TOP_BUILDDIR" && pwd)/tests/browser/node_modules
tests=$(cd "$TOP_SRCDIR" && pwd)/tests/browser
chromium=$(command -v chromium || command -v chromium-browser) ||
    skip "there is no Chromium"
command -v node >/dev/null || skip "there is no node"
[ -d "$modules/axe-core" ] && [ -d "$modules/playwright-core" ] ||
    skip "axe-core and playwright-core are not there: make browser-tools"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# Markup, a script, controls, marks of direction, an emoji, a byte that is no
# text: in pieces, in titles and in the name of a domain.
awk 'BEGIN {
    evil = "<img src=x onerror=window.evil=1></script><script>window.evil=2</script>"
    piece[0] = "<b>w0"; piece[1] = "\033[31mw1"; piece[2] = "w2\342\200\256x"
    piece[3] = evil; piece[4] = "\360\237\230\200"; piece[5] = "\377w5"
    piece[6] = "\331\205\330\261w6"
    print "document,position,layer,rank,expert,gate,margin,nll,vocab,piece,domain,language,title"
    for (d = 0; d < 4; d++) for (p = 0; p < 40; p++) for (l = 0; l < 3; l++)
        for (r = 0; r < 2; r++)
            printf "%d,%d,%d,%d,%d,%s,0.%d,%s,%d,%s,%s,%s,%s\n", d, p, l, r,
                (p * (d + 1) * (l + 1) + r * (1 + p % 2) + l) % 4,
                r ? "0.25" : "0.75", 1 + (p + d) % 9, p ? "1.5" : "", (p + d) % 7,
                piece[(p + d) % 7], d % 2 ? evil "\342\200\256" : "arxiv",
                d % 2 ? "de" : "en", evil "\360\237\230\200"
}' >routes.csv
awk -F, 'BEGIN { OFS = "," } NR > 1 && $2 % 5 == 0 { $5 = ($5 + 1) % 4 } 1' \
    routes.csv >other.csv
"$moetrace" import csv routes.csv -q -o run.db
"$moetrace" import csv other.csv -q -o other.db
"$moetrace" report run.db -o one -q --resamples 100 >/dev/null
"$moetrace" report run.db other.db -o two -q --resamples 100 >/dev/null
tr '\n' ' ' <two/index.html | grep -q 'difference of +0.00000 (95' || {
    echo "no finding about the loss of two runs that lose the same"
    exit 1
}
NODE_PATH=$modules node "$tests/page.cjs" "$chromium" one/index.html two/index.html
