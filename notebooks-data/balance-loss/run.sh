#!/bin/sh
# What the load-balancing loss does: make the tables of this folder again.
#   notebooks-data/balance-loss/run.sh [FOLDER]
# trains a small model on the bundled corpus for each weight of the loss and
# three seeds, traces each on every fourth document, and writes the tables into
# FOLDER (this one unless named). In the environment:
#   MOETRACE   the program, when it is not in PATH
#   TRAIN      options of moetrace train in place of those below
#   WEIGHTS, SEEDS
set -eu
here=$(cd "$(dirname "$0")" && pwd)
demo=$here/../../datasets/demo
out=${1:-$here}
moetrace=${MOETRACE:-moetrace}
train=${TRAIN:---layers 4 --dim 64 --ffn 96 --context 128 --batch 16 --steps 400}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out"
awk -v d="$(cd "$demo/corpus" && pwd)" \
    'NR == 1 { print } NR > 1 && NR % 4 == 2 { print d "/" $0 }' \
    "$demo/corpus/manifest.csv" >"$scratch/texts.csv"

# field FILE NAME: the column of that name in each row, layer by layer
field()
{
    awk -F, -v name="$2" '/^$/ { exit }
        NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i; next }
        { print $at }' "$1"
}

echo "weight,seed,layer,max_over_mean,effective,domain_v,beyond,by_token" \
    >"$out/layers.csv"
echo "weight,seed,held_out_loss" >"$out/loss.csv"
for weight in ${WEIGHTS:-0 0.001 0.01 0.1}; do
    for seed in ${SEEDS:-1 2 3}; do
        run=$scratch/run
        rm -rf "$run"
        "$moetrace" train "$demo/corpus/manifest.csv" -o "$run" \
            --tokenizer "$demo/model/tokenizer.model" --eval 100000 \
            --checkpoint-first 100000 --balance-scope layer $train \
            --balance-loss "$weight" --seed "$seed" --quiet
        last=$(ls -d "$run"/step-* | tail -n 1)
        awk -F, -v w="$weight" -v s="$seed" '
            NR > 1 && $1 != step { step = $1; sum = n = 0 }
            NR > 1 { sum += $4; n++ }
            END { printf "%s,%s,%.6f\n", w, s, sum / n }' \
            "$run/held-out.csv" >>"$out/loss.csv"
        "$moetrace" trace "$last" "$scratch/texts.csv" -o "$scratch/run.db" \
            --force --quiet
        table() # FILE ANALYSIS [OPTION]...
        {
            file=$scratch/$1
            shift
            "$moetrace" analyze "$scratch/run.db" "$@" --resamples 0 --csv \
                --quiet >"$file"
        }
        table balance balance --by none
        table domains domains
        table beyond beyond
        table vocabulary vocabulary --by none
        sed '1,/^$/d' "$scratch/vocabulary" >"$scratch/special"
        field "$scratch/balance" layer >"$scratch/layer"
        field "$scratch/balance" max_over_mean >"$scratch/max"
        field "$scratch/balance" effective >"$scratch/effective"
        field "$scratch/domains" v >"$scratch/v"
        field "$scratch/beyond" beyond >"$scratch/bits"
        field "$scratch/special" by_token >"$scratch/token"
        paste -d , "$scratch/layer" "$scratch/max" "$scratch/effective" \
            "$scratch/v" "$scratch/bits" "$scratch/token" |
            sed "s/^/$weight,$seed,/" >>"$out/layers.csv"
    done
done

# Means over layers and seeds, and the deviation of the seeds' means.
awk -F, '
FNR == 1 { file++; next }
file == 1 {
    key = $1 SUBSEP $2
    if (!(key in n)) { order[++runs] = key }
    n[key]++
    for (i = 4; i <= 8; i++) sum[key, i] += $i
}
file == 2 { loss[$1, $2] = $3 }
END {
    print "weight,seeds,held_out_loss,held_out_loss_sd,max_over_mean,max_over_mean_sd," \
        "effective,effective_sd,domain_v,domain_v_sd,beyond,beyond_sd,by_token,by_token_sd"
    for (r = 1; r <= runs; r++) {
        split(order[r], part, SUBSEP)
        w = part[1]
        if (!(w in seeds)) weights[++count] = w
        seeds[w]++
        for (i = 3; i <= 8; i++) {
            x = i == 3 ? loss[w, part[2]] : sum[order[r], i] / n[order[r]]
            total[w, i] += x
            square[w, i] += x * x
        }
    }
    for (c = 1; c <= count; c++) {
        w = weights[c]
        line = w "," seeds[w]
        for (i = 3; i <= 8; i++) {
            mean = total[w, i] / seeds[w]
            rest = square[w, i] - seeds[w] * mean * mean
            sd = seeds[w] > 1 && rest > 0 ? sqrt(rest / (seeds[w] - 1)) : 0
            line = line sprintf(",%.4f,%.4f", mean, sd)
        }
        print line
    }
}' "$out/layers.csv" "$out/loss.csv" >"$out/summary.csv"
