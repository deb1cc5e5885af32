-- The tables of analyses.sh in plain SQL, on the views of a trace.
PRAGMA temp_store = MEMORY;
CREATE TEMP TABLE route AS
  SELECT s.document, s.position, s.layer, s.rank, s.expert, d.domain,
         t.window, t.vocab
  FROM selection s JOIN token t USING (document, position)
                   JOIN document d USING (document)
  WHERE t.phase <> 'bos';
.mode csv
.headers off
.separator "," "\n"
SELECT 'share', layer, domain, rank, expert, count(*)
  FROM route GROUP BY layer, domain, rank, expert;
SELECT 'repeat', layer, domain, '-', '-', sum(expert = before) || '/' || count(before)
  FROM (SELECT layer, domain, expert, lag(expert) OVER
          (PARTITION BY layer, document, window ORDER BY position) AS before
        FROM route WHERE rank = 0)
  GROUP BY layer, domain;
SELECT 'special', layer, '-', '-', '-', sum(most) || '/' || sum(n)
  FROM (SELECT layer, max(n) AS most, sum(n) AS n
        FROM (SELECT layer, vocab, expert, count(*) AS n
              FROM route GROUP BY layer, vocab, expert)
        GROUP BY layer, vocab)
  GROUP BY layer;
SELECT 'pair', a.layer, a.domain, min(a.expert, b.expert),
       max(a.expert, b.expert), count(*)
  FROM (SELECT * FROM route WHERE rank = 0) a
  JOIN (SELECT * FROM route WHERE rank = 1) b
    USING (document, position, layer)
  GROUP BY a.layer, a.domain, min(a.expert, b.expert), max(a.expert, b.expert);
