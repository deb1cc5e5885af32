#!/bin/sh
# A sample depends on rate, seed, strata and the corpus alone: not on shards,
# batches, limits or being resumed; and it is told.
set -eu
. "$TOP_SRCDIR/tests/cli/begin.sh"
command -v sqlite3 >/dev/null || exit 77
cd "$dir"

# trace OPTION...: two corpora, 40 documents of a, 20 of b, 10 of c.
trace()
{
    "$moetrace" trace -q model one.jsonl two.jsonl.gz "$@" 2>err ||
        fail "trace $*: $(cat err)"
}

rows()
{
    sqlite3 "$1" "SELECT * FROM document; SELECT * FROM token;
        SELECT * FROM selection; SELECT * FROM router"
}

same()
{
    rows "$1" >got
    cmp -s got want || fail "$1: other rows, $2"
}

"$TOP_BUILDDIR/tests/tiny" -o model --layers 2 --dim 32 --ffn 32 --heads 2 \
    --kv-heads 1 --context 64
i=0
while [ $i -lt 70 ]; do
    case $((i % 7)) in 0 | 2 | 4 | 5) d=a ;; 1 | 3) d=b ;; 6) d=c ;; esac
    printf '{"text": "the cat number %d sat on a mat", "domain": "%s"}\n' $i $d
    i=$((i + 1))
done >all.jsonl
head -33 all.jsonl >one.jsonl
tail -37 all.jsonl | gzip >two.jsonl.gz

# By domain: exactly a tenth of each, in the order of the corpus.
trace -o by.db --sample 0.1 --seed 4 --sample-by domain
rows by.db >want
is_in by.db "SELECT group_concat(domain || n, ' ') FROM (SELECT domain,
    count(*) AS n FROM document GROUP BY domain)" 'a4 b2 c1'
is_in by.db "SELECT group_concat(value, '; ') FROM run WHERE key = 'sample' OR
    key LIKE 'corpus\\_%ed' ESCAPE '\\' OR key = 'corpus_documents'
    ORDER BY key" '0.1 by domain, seed 4; 70; 7'
"$moetrace" info by.db --csv | grep -qx 'sample,"0.1 by domain, seed 4"' ||
    fail "info does not tell of the sample"
is_in by.db "SELECT count(*) FROM document WHERE path NOT LIKE '%.jsonl%:' ||
    (document + 1 - 33 * (document >= 33))" 0

for i in 3 1 2; do
    trace -o part$i.db --sample 0.1 --seed 4 --sample-by domain --shard $i/3
done
"$moetrace" merge -q -o merged.db part1.db part3.db part2.db ||
    fail "shards of a sample cannot be merged"
same merged.db "merged from shards"
is_in merged.db "SELECT value FROM run WHERE key = 'documents'" 7
refuses 1 'shard 3/3 is missing' "$moetrace" merge -o none.db part1.db part2.db
n=$(sqlite3 part3.db "SELECT count(*) FROM document")
"$moetrace" merge --allow-gaps -o some.db part1.db part2.db >out 2>err ||
    fail "gaps are not allowed: $(cat err)"
grep -q "some.db: $n documents are missing" err || fail "gaps: $(cat err)"

trace -o small.db --sample 0.1 --seed 4 --sample-by domain --batch 64 --threads 1
same small.db "in small batches"
trace -o late.db --sample 0.1 --seed 4 --sample-by domain --limit-documents 3
is_in late.db "SELECT count(*) FROM document" 3
trace -o late.db --sample 0.1 --seed 4 --sample-by domain --resume
same late.db "after a limit, resumed"

# Another sample is another run.
cp by.db kept.db
refuses 1 'by.db: recorded with sample 0.1 by domain, seed 4, now 0.2 by domain, seed 4' "$moetrace" \
    trace -q model one.jsonl two.jsonl.gz -o by.db --resume --sample 0.2 --seed 4 \
    --sample-by domain
refuses 1 'recorded with sample 0.1 by domain, seed 4, now 0.1, seed 6' "$moetrace" \
    trace -q model one.jsonl two.jsonl.gz -o by.db --resume --sample 0.1 --seed 6
refuses 1 'recorded with sample 0.1 by domain, seed 4, now all' "$moetrace" \
    trace -q model one.jsonl two.jsonl.gz -o by.db --resume
cmp -s by.db kept.db || fail "a refused run changed its file"
trace -o other2.db --sample 0.1 --seed 6 --sample-by domain --shard 2/3
refuses 1 'not of one run: sample 0.1 by domain, seed 4 and 0.1 by domain, seed 6' "$moetrace" \
    merge -o none.db part1.db other2.db part3.db
[ ! -e none.db ] || fail "a refused merge left a file"

# Each document on its own: a larger rate holds what a smaller one does.
trace -o half.db --sample 0.5 --seed 9
trace -o more.db --sample 0.8 --seed 9
is_in half.db "ATTACH 'more.db' AS m; SELECT (SELECT count(*) FROM main.document)
    BETWEEN 15 AND 55, (SELECT count(*) FROM main.document WHERE digest NOT IN
    (SELECT digest FROM m.document))" '1|0'
trace -o all.db --sample 1
is_in all.db "SELECT count(*) FROM document" 70
is_in all.db "SELECT value FROM run WHERE key = 'sample'" all

refuses 1 'the sample has none of 70 documents' "$moetrace" trace -q model one.jsonl \
    two.jsonl.gz -o no.db --sample 1e-9
[ ! -e no.db ] || fail "an empty sample left a file"
refuses 2 'more than 0, up to 1' "$moetrace" trace model one.jsonl -o no.db --sample 0
refuses 2 'more than 0, up to 1' "$moetrace" trace model one.jsonl -o no.db --sample 1.5
refuses 2 'sample-by needs --sample' "$moetrace" trace model one.jsonl -o no.db \
    --sample-by domain
exit $rc
