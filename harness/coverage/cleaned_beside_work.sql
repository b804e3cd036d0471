-- cleaned-beside-work: a clean-up that deleted something went on while a worker held a job.
-- Remedy: Raise the option seconds, or --workers.
WITH held AS (
  SELECT c.completed_ns AS from_ns, min(e.invoked_ns) AS until_ns
  FROM handles c JOIN handles e ON split_part(e.process, '.', 1) = split_part(c.process, '.', 1) AND e.job = c.job
    AND e.kind = 'complete' AND e.invoked_ns >= c.completed_ns
  WHERE c.kind = 'claim' AND c.outcome = 'ok' GROUP BY c.operation, c.job, c.completed_ns
), cleaned AS (
  SELECT * FROM operations WHERE kind IN ('clean_by_tag', 'wipe_all') AND outcome = 'ok' AND returned > 0
)
SELECT count(*) FILTER (WHERE EXISTS (SELECT 1 FROM held h WHERE h.from_ns < d.completed_ns AND h.until_ns > d.invoked_ns)) > 0 AS present,
       'Of ' || count(*) || ' clean-ups that deleted something none went on while a job was held.' AS reason
FROM cleaned d;
