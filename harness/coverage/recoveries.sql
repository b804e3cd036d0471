-- Jobs that a fault took from their holder, once each for each time: who held it, which fault, who got it next and how long after the fault
-- began; null where nobody did. The fault is the last to begin that named the holder, or nobody, before the holder had tried to end the
-- job, or it was handed on. An end of unknown outcome was none if the job was handed on.
WITH began AS (SELECT min(invoked_ns) AS ns FROM operations WHERE phase = 'main'),
struck AS (
  SELECT o.value ->> '$.fault' AS fault, o.invoked_ns, h.job ->> '$' AS worker
  FROM operations o LEFT JOIN handles h USING (operation) WHERE o.process = 'nemesis' AND o.value ->> '$.fault' IS NOT NULL
), claimed AS (
  SELECT job, operation, split_part(process, '.', 1) AS worker, invoked_ns,
         coalesce(lead(completed_ns) OVER w, 9223372036854775807) AS until_ns, lead(completed_ns) OVER w AS next_ns, lead(split_part(process, '.', 1)) OVER w AS next_worker
  FROM handles WHERE kind = 'claim' AND outcome = 'ok' AND phase <> 'setup'
  WINDOW w AS (PARTITION BY job ORDER BY completed_ns, operation)
), tried AS (
  SELECT c.job, c.operation, min(coalesce(e.completed_ns, 9223372036854775807)) AS ns,
         bool_or((e.outcome = 'ok' OR c.next_ns IS NULL) AND e.accepted) AS ended
  FROM claimed c JOIN handles e ON e.job = c.job AND split_part(e.process, '.', 1) = c.worker
    AND e.kind IN ('complete', 'fail') AND e.outcome <> 'fail' AND e.invoked_ns >= c.invoked_ns AND e.invoked_ns < c.until_ns
  GROUP BY c.job, c.operation
), taken AS (
  SELECT c.job, c.operation, c.worker, c.next_worker, c.next_ns, max_by(s.fault, s.invoked_ns) AS fault, max(s.invoked_ns) AS struck_ns
  FROM claimed c LEFT JOIN tried t USING (job, operation)
  JOIN struck s ON (s.worker IS NULL OR s.worker = c.worker) AND s.invoked_ns >= c.invoked_ns AND s.invoked_ns < least(c.until_ns, coalesce(t.ns, c.until_ns))
  WHERE NOT coalesce(t.ended, false)
  GROUP BY ALL
)
SELECT job, worker, fault, next_worker, round((struck_ns - b.ns) / 1e9, 4) AS struck_seconds,
       round((next_ns - b.ns) / 1e9, 4) AS handed_on_seconds, round((next_ns - struck_ns) / 1e6, 3) AS ms
FROM taken CROSS JOIN began b ORDER BY struck_ns, job;
