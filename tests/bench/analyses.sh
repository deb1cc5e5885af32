#!/bin/sh
# The same tables of one trace by moetrace, in SQL on its views, and with
# pandas: shares by domain, repetition by domain, specialisation of the
# vocabulary, and pairs of experts, each for every layer. The counts must be
# equal; times and peak memory are printed, the three taking turns.
#
#   ROUNDS=3 DOCUMENTS=300 TOKENS=200000 LAYERS=8 make bench-analyses
#   RUN=run.db make bench-analyses      (a trace of your own, top 2)
#
# PYTHON is the interpreter that has pandas, if python3 is another one.
set -e
LC_ALL=C
export LC_ALL
bench=$TOP_SRCDIR/tests/bench
build=$TOP_BUILDDIR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

run=$RUN
if [ -z "$run" ]; then
    run=$work/run.db
    "$build/tests/plant_large" "$run" "${DOCUMENTS:-300}" "${TOKENS:-200000}" \
        "${LAYERS:-8}"
fi
"$build/moetrace" info "$run" | grep -E '^(tokens|layers with|experts for)'

by_moetrace="$build/moetrace analyze $run shares repeats vocabulary coactivation --csv -q"
by_all="$build/moetrace analyze $run all --csv -q"
by_sql="$(command -v sqlite3 || true) $run"
python=$(command -v "${PYTHON:-python3}" || true)
by_pandas="$python $bench/analyses.py $run"
if ! "$python" -c 'import pandas' 2>/dev/null; then
    echo "without pandas (python3-pandas is not installed)"
    by_pandas=
fi
if ! command -v sqlite3 >/dev/null; then
    echo "without SQL (sqlite3 is not installed)"
    by_sql=
fi

# measure NAME COMMAND...: its output, and a line of what it took.
measure() {
    name=$1
    shift
    begin=$(date +%s%N)
    "$build/tests/peak" "$work/peak" "$@" >"$work/$name.csv"
    end=$(date +%s%N)
    awk -v name="$name" -v ns=$((end - begin)) -v kb="$(cat "$work/peak")" \
        'BEGIN { printf "%-10s %8.2f s %8.0f MB\n", name, ns / 1e9, kb / 1e3 }'
}

same() {
    if ! cmp -s "$work/tables" "$work/$1.tables"; then
        echo "$1 has other numbers than moetrace:" >&2
        diff "$work/tables" "$work/$1.tables" | head >&2 || true
        exit 1
    fi
}

round=0
while [ $round -lt "${ROUNDS:-3}" ]; do
    round=$((round + 1))
    echo "round $round"
    measure moetrace $by_moetrace
    awk -f "$bench/analyses.awk" "$work/moetrace.csv" | sort >"$work/tables"
    if [ -n "$by_sql" ]; then
        measure sql $by_sql <"$bench/analyses.sql"
        sort "$work/sql.csv" >"$work/sql.tables"
        same sql
    fi
    if [ -n "$by_pandas" ]; then
        measure pandas $by_pandas
        sort "$work/pandas.csv" >"$work/pandas.tables"
        same pandas
    fi
    measure all $by_all
done
echo "$(wc -l <"$work/tables") counts, equal in each"
