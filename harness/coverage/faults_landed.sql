-- faults-landed: every fault took hold while what it was done to was in the middle of an operation, or had a job in hand if it was aimed so.
-- Remedy: Raise --workers, or lower the option lease_seconds, so that workers do more.
WITH struck AS (
  SELECT o.operation, o.invoked_ns, o.completed_ns, o.value ->> '$.fault' AS fault, o.value ->> '$.inside' AS aim,
         h.job ->> '$' AS worker
  FROM operations o LEFT JOIN handles h USING (operation)
  WHERE o.process = 'nemesis' AND o.value ->> '$.fault' IS NOT NULL
), held AS (
  SELECT split_part(c.process, '.', 1) AS worker, c.completed_ns AS from_ns, coalesce(min(e.invoked_ns), 9223372036854775807) AS until_ns
  FROM handles c
  LEFT JOIN handles e ON e.job = c.job AND e.kind IN ('complete', 'fail') AND e.invoked_ns >= c.completed_ns
    AND split_part(e.process, '.', 1) = split_part(c.process, '.', 1)
  WHERE c.kind = 'claim' AND c.outcome = 'ok' GROUP BY c.operation, c.job, c.process, c.completed_ns
), landed AS (
  SELECT s.fault, s.operation, s.completed_ns IS NOT NULL AS took_hold,
         bool_and(EXISTS (
           SELECT 1 FROM operations o JOIN processes p ON p.process = split_part(o.process, '.', 1) AND p.role IN ('worker', 'adder')
           WHERE (s.worker IS NULL OR p.process = s.worker)
             AND o.invoked_ns <= coalesce(s.completed_ns, 9223372036854775807) AND coalesce(o.completed_ns, 9223372036854775807) >= s.invoked_ns
             AND (s.fault <> 'fill-disk' OR o.error_code LIKE 'SQLITE_FULL%' OR o.error_code = '53100')
         ) OR (coalesce(s.aim = 'holding', false) AND EXISTS (
           SELECT 1 FROM held WHERE held.worker = s.worker AND s.invoked_ns BETWEEN held.from_ns AND held.until_ns
         ))) AS inside
  FROM struck s GROUP BY ALL
)
SELECT count(*) > 0 AND coalesce(bool_and(took_hold AND inside), false) AS present,
       CASE WHEN count(*) = 0 THEN 'No fault was done.'
            ELSE 'Of ' || count(*) || ' faults these did not land inside an operation: '
                 || string_agg(fault, ', ' ORDER BY operation) FILTER (NOT (took_hold AND inside)) || '.' END AS reason
FROM landed;
