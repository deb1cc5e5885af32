#!/bin/sh
# Make the tables of this folder again, from the bundled corpus and model:
#   notebooks-data/demo-study/run.sh [FOLDER [RUN.db]]
# writes them into FOLDER (this one unless named). With RUN.db, a trace that is
# there already is used. MOETRACE names the program when it is not in PATH.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
demo=$here/../../datasets/demo
out=${1:-$here}
moetrace=${MOETRACE:-moetrace}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out"

run=${2:-$scratch/run.db}
[ -n "${2-}" ] || "$moetrace" trace "$demo/model" "$demo/corpus/manifest.csv" \
    -o "$run" --quiet

table() # FILE ANALYSIS [OPTION]...
{
    file=$1
    shift
    "$moetrace" analyze "$run" "$@" --csv --quiet -o "$scratch/table"
    # an analysis of two tables: the first here, the second by its own name
    sed '/^$/,$d' "$scratch/table" >"$out/$file"
    sed '1,/^$/d' "$scratch/table" >"$scratch/second"
}

table shares-by-domain.csv shares --by domain
table shares-by-language.csv shares --by language
table repeats-by-domain.csv repeats --by domain
table repeats-by-language.csv repeats --by language
table perplexity-by-domain.csv perplexity --by domain
table perplexity-by-language.csv perplexity --by language
table vocabulary.csv vocabulary
cp "$scratch/second" "$out/specialisation.csv"
