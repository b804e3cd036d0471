-- faults-landed: every fault took hold while what it was done to was in the middle of an operation.
-- Remedy: Raise --workers, or lower the option lease_seconds, so that workers do more.
WITH struck AS (
  SELECT o.operation, o.invoked_ns, o.completed_ns, o.value ->> '$.fault' AS fault, h.job ->> '$' AS worker
  FROM operations o LEFT JOIN handles h USING (operation)
  WHERE o.process = 'nemesis' AND o.value ->> '$.fault' IS NOT NULL
), landed AS (
  SELECT s.fault, s.operation, s.completed_ns IS NOT NULL AS took_hold,
         bool_and(EXISTS (
           SELECT 1 FROM operations o JOIN processes p ON p.process = split_part(o.process, '.', 1) AND p.role IN ('worker', 'adder')
           WHERE (s.worker IS NULL OR p.process = s.worker)
             AND o.invoked_ns <= coalesce(s.completed_ns, 9223372036854775807) AND coalesce(o.completed_ns, 9223372036854775807) >= s.invoked_ns
             AND (s.fault <> 'fill-disk' OR o.error_code LIKE 'SQLITE_FULL%' OR o.error_code = '53100')
         )) AS inside
  FROM struck s GROUP BY ALL
)
SELECT count(*) > 0 AND coalesce(bool_and(took_hold AND inside), false) AS present,
       CASE WHEN count(*) = 0 THEN 'No fault was done.'
            ELSE 'Of ' || count(*) || ' faults these did not land inside an operation: '
                 || string_agg(fault, ', ' ORDER BY operation) FILTER (NOT (took_hold AND inside)) || '.' END AS reason
FROM landed;
