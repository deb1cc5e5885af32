#!/bin/sh
# How a router learns: make the tables of this folder again.
#   notebooks-data/router-learning/run.sh [FOLDER]
# trains a small model on the bundled corpus, traces each of its checkpoints on
# every fourth document, and writes the tables into FOLDER (this one unless
# named). In the environment:
#   MOETRACE   the program, when it is not in PATH
#   RUN        a training run that there is already; its checkpoints are taken
#   TRAIN      options of moetrace train in place of those below
set -eu
here=$(cd "$(dirname "$0")" && pwd)
demo=$here/../../datasets/demo
out=${1:-$here}
moetrace=${MOETRACE:-moetrace}
train=${TRAIN:---layers 4 --dim 64 --ffn 96 --context 128 --batch 16 --steps 400 --seed 1}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out"

run=${RUN:-$scratch/run}
[ -n "${RUN-}" ] || "$moetrace" train "$demo/corpus/manifest.csv" -o "$run" \
    --tokenizer "$demo/model/tokenizer.model" --eval 100000 $train --quiet
awk -v d="$(cd "$demo/corpus" && pwd)" \
    'NR == 1 { print } NR > 1 && NR % 4 == 2 { print d "/" $0 }' \
    "$demo/corpus/manifest.csv" >"$scratch/texts.csv"

# add FILE STEP: the table on standard input, behind a column with the step
add()
{
    awk -v step="$2" -v first="$([ -s "$out/$1" ] || echo 1)" '
        /^$/ { exit }
        NR == 1 { if (first) print "step," $0; next }
        { print step "," $0 }' >>"$out/$1"
}

rm -f "$out/saturation.csv" "$out/domains.csv" "$out/beyond.csv" "$out/repeats.csv"
cp "$run/log.csv" "$run/held-out.csv" "$run/bigram.csv" "$out/"
traces=
for checkpoint in "$run"/step-???????; do
    step=$(basename "$checkpoint" | sed 's/step-0*//')
    step=${step:-0}
    trace=$scratch/$step.db
    "$moetrace" trace "$checkpoint" "$scratch/texts.csv" -o "$trace" --quiet
    analyze()
    {
        "$moetrace" analyze "$trace" --by none --resamples 200 --csv --quiet \
            "$@"
    }
    analyze domains --by domain >"$scratch/table"
    add domains.csv "$step" <"$scratch/table"
    analyze beyond --by domain >"$scratch/table"
    add beyond.csv "$step" <"$scratch/table"
    # the second table of repeats has the levels of chance and the intervals
    analyze repeats | sed '1,/^$/d' >"$scratch/table"
    add repeats.csv "$step" <"$scratch/table"
    traces="$traces $trace"
    last=$trace
done

# The final checkpoint first, then all others.
"$moetrace" compare "$last" $(echo "$traces" | sed "s|$last||") --by none \
    --resamples 200 --csv --quiet >"$scratch/table"
sed "1s/,step,trace,/,order,step,/; s|$scratch/||; s|\.db,|,|" \
    "$scratch/table" >"$out/saturation.csv"
