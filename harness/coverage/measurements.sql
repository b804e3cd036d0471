-- What the main phase cost: one row a measurement, null where there is nothing to measure. Times in ms, from invocation to outcome.
WITH claims_done AS (
  SELECT operation, (completed_ns - invoked_ns) / 1e6 AS ms, invoked_ns, completed_ns, returned
  FROM operations
  WHERE kind = 'claim' AND phase = 'main' AND outcome = 'ok' AND returned > 0
), span AS (
  SELECT (max(completed_ns) - min(invoked_ns)) / 1e9 AS seconds, count(*) AS claims, sum(returned) AS jobs FROM claims_done
), spent AS (
  SELECT c.operation,
         count(s.shape) FILTER (WHERE s.kind IN ('read', 'write')) AS statements,
         count(s.shape) FILTER (WHERE s.commits) AS transactions,
         coalesce(sum(s.trips), 0) AS trips
  FROM claims_done c LEFT JOIN statements s ON s.operation = c.operation
  GROUP BY c.operation
)
SELECT 'claims_per_second' AS name, 'claims/s' AS unit, claims / nullif(seconds, 0) AS value FROM span
UNION ALL SELECT 'jobs_per_second', 'jobs/s', jobs / nullif(seconds, 0) FROM span
UNION ALL SELECT 'claim_ms_p50', 'ms', quantile_cont(ms, 0.5) FROM claims_done
UNION ALL SELECT 'claim_ms_p99', 'ms', quantile_cont(ms, 0.99) FROM claims_done
UNION ALL SELECT 'slowest_claim_ms', 'ms', max((completed_ns - invoked_ns) / 1e6) FROM operations WHERE kind = 'claim' AND phase = 'main'
UNION ALL SELECT 'statements_per_claim', 'statements', avg(statements) FROM spent WHERE (SELECT count(*) FROM statements) > 0
UNION ALL SELECT 'transactions_per_claim', 'transactions', avg(transactions) FROM spent WHERE (SELECT count(*) FROM statements) > 0
UNION ALL SELECT 'round_trips_per_claim', 'round trips', avg(trips) FROM spent WHERE (SELECT sum(trips) FROM statements) > 0
UNION ALL SELECT 'lock_errors', 'errors', count(*) FROM operations
          WHERE kind = 'claim' AND phase = 'main' AND error_kind IN ('lock', 'deadlock', 'serialization')
UNION ALL SELECT 'witnessed_lock_errors', 'errors', count(*) FROM statements WHERE error_kind IN ('lock', 'deadlock', 'serialization');
