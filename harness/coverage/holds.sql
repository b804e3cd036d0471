-- Whose each job was, as its holder saw it, in seconds of a run with faults: from the claim's return until the holder set out to end it;
-- where it never did, until it was handed out again, or the run's last operation. `how` it ended: complete, fail, refused (the
-- end was not accepted), unknown (nobody knows whether it was), lost (its holder never set out to end it).
WITH began AS (SELECT min(invoked_ns) AS ns, max(coalesce(completed_ns, invoked_ns)) AS last_ns FROM operations WHERE phase <> 'setup'),
faulty AS (SELECT count(*) > 0 AS so FROM operations WHERE process = 'nemesis' AND value ->> '$.fault' IS NOT NULL),
claimed AS (
  SELECT job, operation, split_part(process, '.', 1) AS worker, completed_ns AS from_ns,
         lead(completed_ns) OVER (PARTITION BY job ORDER BY completed_ns, operation) AS next_ns,
         lead(completed_ns) OVER (PARTITION BY job, split_part(process, '.', 1) ORDER BY completed_ns, operation) AS again_ns
  FROM handles WHERE kind = 'claim' AND outcome = 'ok' AND phase <> 'setup'
), ended AS (
  SELECT c.job, c.operation, min(e.invoked_ns) AS ns, arg_min(CASE WHEN e.outcome <> 'ok' THEN 'unknown' WHEN e.accepted THEN e.kind ELSE 'refused' END, e.invoked_ns) AS how
  FROM claimed c JOIN handles e ON e.job = c.job AND split_part(e.process, '.', 1) = c.worker
    AND e.kind IN ('complete', 'fail') AND e.outcome <> 'fail'
    AND e.invoked_ns >= c.from_ns AND e.invoked_ns < coalesce(c.again_ns, 9223372036854775807)
  GROUP BY c.job, c.operation
)
SELECT c.worker, c.job, round((c.from_ns - b.ns) / 1e9, 4) AS from_seconds,
       round((coalesce(e.ns, c.next_ns, b.last_ns) - b.ns) / 1e9, 4) AS until_seconds, coalesce(e.how, 'lost') AS how
FROM claimed c CROSS JOIN began b LEFT JOIN ended e USING (job, operation)
WHERE (SELECT so FROM faulty)
ORDER BY c.from_ns, c.job;
