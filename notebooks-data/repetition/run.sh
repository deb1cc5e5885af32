#!/bin/sh
# Make the tables and the figure of this folder again, from the bundled corpus and
# model or from a trace of one's own:
#   notebooks-data/repetition/run.sh [FOLDER [RUN.db]]
# writes table5.csv, figure10.csv, figure10.svg and figure10.pdf into FOLDER (this
# one unless named). The notebook (Python) and the script (R) must agree. MOETRACE
# names the program when it is not in PATH, PYTHON an interpreter with Jupyter.
# Debian: jupyter-nbconvert python3-ipykernel python3-matplotlib python3-pandas
# r-base-core r-cran-rsqlite
set -eu
here=$(cd "$(dirname "$0")" && pwd)
demo=$here/../../datasets/demo
mkdir -p "${1:-$here}"
out=$(cd "${1:-$here}" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

RUN=${2:-$scratch/run.db}
[ -n "${2-}" ] || "${MOETRACE:-moetrace}" trace "$demo/model" \
    "$demo/corpus/manifest.csv" -o "$RUN" --quiet
[ -e "$RUN" ] || {
    echo "$RUN: no such file" >&2
    exit 1
}
case $RUN in /*) ;; *) RUN=$PWD/$RUN ;; esac

mkdir "$scratch/python" "$scratch/r"
OUT=$scratch/python
export RUN OUT
"${PYTHON:-python3}" -m nbconvert --log-level ERROR --to notebook --execute \
    --output-dir "$scratch" "$here/repetition.ipynb"
Rscript "$here/repetition.R" "$RUN" "$scratch/r" >"$scratch/table5"

# Rates and counts are the same; chance_load is a sum, whose order is free.
for f in python r; do
    cut -d, -f 1-5,7- "$scratch/$f/figure10.csv" >"$scratch/$f.csv"
done
cmp "$scratch/python.csv" "$scratch/r.csv"
cmp "$scratch/python/table5.csv" "$scratch/r/table5.csv"
paste -d, "$scratch/python/figure10.csv" "$scratch/r/figure10.csv" | awk -F, '
    NR > 1 && ($6 - $14) ^ 2 > 1e-24 { print "chance_load:", $0; bad = 1 }
    END { exit bad }'
cp "$scratch/python/table5.csv" "$scratch/python/figure10.csv" \
    "$scratch/python/figure10.svg" "$scratch/r/figure10.pdf" "$out"
