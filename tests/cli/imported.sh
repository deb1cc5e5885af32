#!/bin/sh
# Routes that went out as arrays, JSON Lines or bare lines and came in again give
# the analyses of the trace that they came from, or say what they do not know.
# (CSV holds all of a trace: shards.sh.)
set -eu
moetrace=$TOP_BUILDDIR/moetrace
demo=$TOP_SRCDIR/datasets/demo
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
command -v sqlite3 >/dev/null || exit 77
cd "$dir"
rc=0

i=0
for f in "$demo"/corpus/faq/en/* "$demo"/corpus/docs/*; do
    [ -f "$f" ] && [ $i -lt 3 ] || continue
    head -c 900 "$f" >$i.txt
    i=$((i + 1))
done
"$moetrace" trace -q "$demo/model" 0.txt 1.txt 2.txt --no-bos -c 1000 --no-nll \
    -o native.db
"$moetrace" export native.db -o x --npy
"$moetrace" import vllm x/expert.npy --offsets x/doc_offsets.npy --experts 8 \
    --tokens x/token_vocab.npy --pieces x/token.csv --vocab 4096 -o npy.db
sqlite3 native.db "SELECT json_object('document', document, 'layer', layer,
        'token_index', position, 'experts', json_group_array(expert),
        'gating_probs', json_group_array(gate), 'token_id', vocab,
        'piece', piece)
    FROM (SELECT * FROM selection ORDER BY document, position, layer, rank)
    JOIN token USING(document, position)
    GROUP BY document, position, layer ORDER BY layer, position" >routes.jsonl
"$moetrace" import jsonl routes.jsonl --experts 8 --vocab 4096 -o jsonl.db
for i in 0 1 2; do
    sqlite3 -csv native.db "SELECT layer, expert FROM selection
        WHERE document = $i ORDER BY layer, position, rank" >$i.csv
done
"$moetrace" import llamacpp 0.csv 1.csv 2.csv --top-k 2 --experts 8 -o llamacpp.db

names=$("$moetrace" analyze --list | sed -n 's/^\([a-z][a-z]*\) .*/\1/p')
[ "$(echo "$names" | wc -l)" -ge 20 ] || {
    echo "analyses: $names"
    rc=1
}
# analyze FORMAT NAME: without the lines that tell of the trace, and paths
analyze()
{
    if "$moetrace" analyze $1.db $2 --resamples 40 --csv >all 2>$1.err; then
        grep -v '^#' all | sed "s/^\\([0-9]*\\),[0-9].txt,/\\1,\"\",/" >$1.$2
    else
        grep -q "$1.db: the trace has no .*, which the analysis '$2' needs" \
            $1.err || {
            cat $1.err
            rc=1
        }
        return 1
    fi
}
for name in $names; do
    analyze native $name || {
        echo "the native trace gives no $name"
        rc=1
    }
    for format in npy jsonl llamacpp; do
        # what asks for gates, margins or, of bare lines, ids and texts of tokens
        case $format.$name in
        *.confidence | npy.committees | llamacpp.committees | llamacpp.beyond | \
            llamacpp.classes | llamacpp.explained | llamacpp.perplexity | \
            llamacpp.vocabulary)
            if analyze $format $name; then
                echo "$format has what $name needs"
                rc=1
            fi
            ;;
        # these show gates, ids and pieces where they are known
        npy.tokens | llamacpp.tokens | llamacpp.paths | llamacpp.repeats)
            analyze $format $name || rc=1
            ;;
        *)
            analyze $format $name && cmp native.$name $format.$name || rc=1
            ;;
        esac
    done
done
exit $rc
