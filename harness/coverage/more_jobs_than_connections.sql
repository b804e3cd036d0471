-- more-jobs-than-connections: more jobs were worked on at once than the pool has connections, so that they could have had to wait.
-- Remedy: Raise --jobs or lower the option pool_size; the system must take its connections from psycopg_pool or SQLAlchemy's QueuePool.
WITH moments AS (
  SELECT invoked_ns AS at_ns, 1 AS more FROM operations WHERE kind = 'scan'
  UNION ALL SELECT completed_ns, -1 FROM operations WHERE kind = 'scan' AND completed_ns IS NOT NULL
), peak AS (
  SELECT coalesce(max(jobs), 0) AS jobs FROM (SELECT sum(more) OVER (ORDER BY at_ns, more) AS jobs FROM moments)
), pools AS (
  SELECT max(size) AS size FROM acquisitions
)
SELECT coalesce(peak.jobs > pools.size, false) AS present,
       CASE WHEN pools.size IS NULL THEN 'No connection was taken from a bounded pool.'
            ELSE peak.jobs || ' jobs were worked on at once, on a pool of ' || pools.size || '.' END AS reason
FROM peak, pools;
