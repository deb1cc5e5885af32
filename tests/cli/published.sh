#!/bin/sh
# The published tables are whole, and their README's figures follow from them; the
# data dictionary knows every column.
set -eu
cd "$TOP_SRCDIR/notebooks-data/published"

awk -F, '
FNR == 1 { next }
NF != 4 || $3 <= 0 || $3 >= 100 || $4 <= $3 || $4 >= 100 { exit 1 }
{ n++; layers[$2]++; domains[$1]++ }
END { if (n != 24 || layers[0] != 8 || layers[15] != 8 || layers[31] != 8 ||
          length(domains) != 8) exit 1 }
' mixtral-paper-table5.csv || { echo "mixtral-paper-table5.csv"; exit 1; }

# Chi-square, Cramer's V and information of domain x first choice, as the
# README's table shows them.
found=$(awk -F, '
FNR == 1 { next }
{ n[$2] += $4; c[$2, $1, $3] = $4; row[$2, $1] += $4; col[$2, $3] += $4
  either[$2, $1] += $5; cells++; layer[$2]; domain[$1] }
END {
    for (l in layer) {
        x = mi = 0
        for (d in domain) {
            if (row[l, d] != 208896 || either[l, d] != 2 * 208896) exit 1
            for (e = 0; e < 8; e++) {
                want = row[l, d] * col[l, e] / n[l]
                x += (c[l, d, e] - want) ^ 2 / want
                mi += c[l, d, e] / n[l] * log(c[l, d, e] / want) / log(2)
            }
        }
        chi[l] = x; v[l] = sqrt(x / n[l] / 4); bits[l] = mi
    }
    if (cells != 120) exit 1
    printf "| chi-square, 28 degrees of freedom | %.0f | %.0f | %.0f |\n",
        chi[0], chi[7], chi[15]
    printf "| Cramer'\''s V | %.4f | %.4f | %.4f |\n", v[0], v[7], v[15]
    printf "| I(domain; expert) in bits | %.4f | %.4f | %.4f |\n",
        bits[0], bits[7], bits[15]
}' mixtral-olmoe-expert-counts.csv) ||
    { echo "mixtral-olmoe-expert-counts.csv"; exit 1; }
test "$found" = "$(tail -n 3 README.md)" || { echo "$found"; exit 1; }

# The data dictionary has every column of every table, in order, and says what it is.
cd ..
for f in */*.csv; do
    columns=$(awk -F, -v f="$f" '$1 == f && NF > 3 && $4 != "" &&
        $3 ~ /^(text|integer|real)$/ { printf "%s%s", n++ ? "," : "", $2 }' dictionary.csv)
    test "$columns" = "$(head -n 1 "$f")" || {
        echo "dictionary.csv: $f: $columns"
        exit 1
    }
done
sed '1d; s/,.*//' dictionary.csv | sort -u | while read -r f; do
    test -e "$f" || { echo "dictionary.csv: $f is not there"; exit 1; }
done
