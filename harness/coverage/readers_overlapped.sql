-- readers-overlapped: several readers read at the same time, while something was being deleted.
-- Remedy: Raise the options readers and seconds.
WITH reads AS (
  SELECT invoked_ns, completed_ns,
         max(completed_ns) OVER (ORDER BY invoked_ns, operation ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS others_until_ns
  FROM operations WHERE kind = 'status_all' AND outcome = 'ok'
)
SELECT count(*) FILTER (WHERE others_until_ns > invoked_ns AND EXISTS (
         SELECT 1 FROM operations d
         WHERE d.kind IN ('clean_by_tag', 'wipe_all') AND d.outcome = 'ok' AND d.invoked_ns < r.completed_ns AND d.completed_ns > r.invoked_ns
       )) > 0 AS present,
       'Of ' || count(*) || ' reads none overlapped both another and a clean-up.' AS reason
FROM reads r;
