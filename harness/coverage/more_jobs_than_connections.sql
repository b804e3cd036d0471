-- more-jobs-than-connections: a worker had more jobs in work at once than its pool has connections, so that they could have had to wait.
-- Remedy: Raise --jobs or lower the option pool_size; the system must take its connections from psycopg_pool or SQLAlchemy's QueuePool.
WITH moments AS (
  SELECT split_part(process, '.', 1) AS process, invoked_ns AS at_ns, 1 AS more FROM operations WHERE kind = 'scan'
  UNION ALL SELECT split_part(process, '.', 1), completed_ns, -1 FROM operations WHERE kind = 'scan' AND completed_ns IS NOT NULL
), peaks AS (
  SELECT process, max(jobs) AS jobs
  FROM (SELECT process, sum(more) OVER (PARTITION BY process ORDER BY at_ns, more) AS jobs FROM moments) GROUP BY process
), pools AS (
  SELECT p.process, max(p.size) AS size, coalesce(any_value(k.jobs), 0) AS jobs
  FROM acquisitions p LEFT JOIN peaks k USING (process) WHERE p.size IS NOT NULL GROUP BY p.process
)
SELECT coalesce(max(jobs - size) > 0, false) AS present,
       coalesce(arg_max(jobs || ' jobs were worked on at once, on a pool of ' || size || '.', jobs - size),
                'No connection was taken from a bounded pool.') AS reason
FROM pools;
