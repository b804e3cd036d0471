-- killed-inside: every process that was killed was in the middle of an operation.
-- Remedy: Raise --batch or --jobs, so that an operation takes longer.
WITH killed AS (
  SELECT h.job ->> '$' AS process, h.invoked_ns,
         EXISTS (SELECT 1 FROM operations o WHERE split_part(o.process, '.', 1) = h.job ->> '$'
                 AND o.invoked_ns <= h.invoked_ns AND o.completed_ns IS NULL) AS inside
  FROM handles h WHERE h.kind = 'kill' AND h.outcome = 'ok'
)
SELECT count(*) > 0 AND coalesce(bool_and(inside), false) AS present,
       CASE WHEN count(*) = 0 THEN 'Nobody was killed.'
            ELSE count(*) FILTER (NOT inside) || ' of ' || count(*) || ' processes were killed outside of any operation.' END AS reason
FROM killed;
