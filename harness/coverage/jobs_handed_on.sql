-- jobs-handed-on: a job whose holder a fault had befallen was handed to another without its end, so that recovery was seen at work.
-- Remedy: Plan a fault that takes a worker from its jobs: the option faults=pause-worker,kill-worker.
WITH struck AS (
  SELECT o.invoked_ns, h.job ->> '$' AS worker
  FROM operations o LEFT JOIN handles h USING (operation) WHERE o.process = 'nemesis' AND o.value ->> '$.fault' IS NOT NULL
), claimed AS (
  SELECT job, split_part(process, '.', 1) AS worker, invoked_ns,
         lead(completed_ns) OVER w AS next_ns, lead(split_part(process, '.', 1)) OVER w AS next_worker
  FROM handles WHERE kind = 'claim' AND outcome = 'ok' AND phase <> 'setup'
  WINDOW w AS (PARTITION BY job ORDER BY completed_ns, operation)
)
SELECT count(*) > 0 AS present, 'No job was handed on by one that a fault had befallen.' AS reason
FROM claimed c
WHERE c.next_worker <> c.worker
  AND EXISTS (SELECT 1 FROM struck s WHERE (s.worker IS NULL OR s.worker = c.worker) AND s.invoked_ns BETWEEN c.invoked_ns AND c.next_ns)
  AND NOT EXISTS (
    SELECT 1 FROM handles e
    WHERE e.job = c.job AND split_part(e.process, '.', 1) = c.worker AND e.kind IN ('complete', 'fail') AND e.outcome = 'ok' AND e.accepted
      AND e.invoked_ns BETWEEN c.invoked_ns AND c.next_ns);
