# The counts of analyses.sh from the tables of moetrace, told apart by their
# headers, which say where each column is; lines as the other two programs print
# them.
BEGIN { FS = OFS = "," }
$1 == "layer" {
    for (i = 1; i <= NF; i++) at[$i] = i
    table = $3 == "choice" && $4 == "expert" ? "share" \
    : $3 == "choice" && $4 == "rate" ? "repeat" \
    : $3 == "information" ? "special" \
    : $3 == "expert" && $4 == "other" ? "pair" : ""; next }
table == "share" && $2 != "(all)" && $3 != "either" && $at["count"] > 0 {
    print "share", $1, $2, $3 == "second", $4, $at["count"] }
table == "repeat" && $2 != "(all)" && $3 == "first" {
    print "repeat", $1, $2, "-", "-", $at["repeats"] "/" $at["pairs"] }
table == "special" && $2 == "(all)" {
    print "special", $1, "-", "-", "-",
        sprintf("%.0f/%.0f", $at["by_token"] * $at["n"], 2 * $at["n"]) }
table == "pair" && $2 != "(all)" && $3 < $4 && $at["count"] > 0 {
    print "pair", $1, $2, $3, $4, $at["count"] }
