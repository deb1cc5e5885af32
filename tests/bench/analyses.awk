# The counts of analyses.sh from the tables of moetrace, told apart by their
# headers; each line as the other two programs print it.
BEGIN { FS = OFS = "," }
$1 == "layer" { table = $3 == "choice" && $4 == "expert" ? "share" \
    : $3 == "choice" && $4 == "rate" ? "repeat" \
    : $3 == "information" ? "special" \
    : $3 == "expert" && $4 == "other" ? "pair" : ""; next }
table == "share" && $2 != "(all)" && $3 != "either" && $7 > 0 { print "share", $1, $2, $3 == "second", $4, $7 }
table == "repeat" && $2 != "(all)" && $3 == "first" { print "repeat", $1, $2, "-", "-", $9 "/" $10 }
table == "special" && $2 == "(all)" {
    print "special", $1, "-", "-", "-", sprintf("%.0f/%.0f", $5 * $7, 2 * $7) }
table == "pair" && $2 != "(all)" && $3 < $4 && $9 > 0 { print "pair", $1, $2, $3, $4, $9 }
