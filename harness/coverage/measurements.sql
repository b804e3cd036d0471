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
), of_workers AS (  -- polls and all, until the last of them had done its last
  SELECT count(*) AS statements
  FROM statements s JOIN processes p ON p.process = s.process AND p.role = 'worker'
  WHERE s.kind IN ('read', 'write') AND s.started_ns BETWEEN (SELECT min(invoked_ns) FROM claims_done) AND (
    SELECT max(completed_ns) FROM operations WHERE kind = 'complete' AND phase = 'main')
), scans AS (
  SELECT split_part(process, '.', 1) AS worker, count(*) AS jobs, min(invoked_ns) AS from_ns
  FROM operations
  WHERE kind = 'scan' AND split_part(process, '.', 1) NOT IN (SELECT job ->> '$' FROM handles WHERE kind = 'kill')  -- half a job says little
  GROUP BY 1
), telling AS (  -- as the invariant write-budget counts: what tells of progress, without the one write that ends a job
  SELECT s.operation
  FROM statements s LEFT JOIN operations o USING (operation) JOIN scans c ON c.worker = s.process AND s.started_ns >= c.from_ns
  WHERE s.kind = 'write' AND s.error_kind IS NULL
    AND coalesce(o.kind IN ('report_progress', 'flush_progress', 'complete', 'fail', 'close'), true)
), ends AS (
  SELECT least(o.requested, greatest(1, (SELECT count(*) FROM telling t WHERE t.operation = o.operation))) AS ends
  FROM operations o JOIN scans c ON c.worker = split_part(o.process, '.', 1) AND o.invoked_ns >= c.from_ns
  WHERE o.kind IN ('complete', 'fail') AND o.outcome <> 'fail'
), written AS (
  SELECT (SELECT count(*) FROM telling) - coalesce((SELECT sum(ends) FROM ends), 0) AS writes, sum(jobs) AS jobs FROM scans
), lent AS (
  SELECT (ended_ns - asked_ns) / 1e6 AS wait_ms, error_kind FROM acquisitions WHERE process IN (SELECT worker FROM scans)
), held AS (
  SELECT at_ns, sum(more) OVER (PARTITION BY process, pool ORDER BY at_ns, more) AS in_use
  FROM (SELECT process, pool, got_ns AS at_ns, 1 AS more FROM acquisitions WHERE got_ns IS NOT NULL
        UNION ALL SELECT process, pool, returned_ns, -1 FROM acquisitions WHERE returned_ns IS NOT NULL)
), status_reads AS (
  SELECT (completed_ns - invoked_ns) / 1e6 AS ms FROM operations WHERE kind = 'status_all' AND phase = 'main' AND outcome = 'ok'
), deletions AS (
  SELECT (completed_ns - invoked_ns) / 1e6 AS ms FROM operations
  WHERE kind IN ('delete_many', 'clean_by_tag', 'wipe_all') AND phase = 'main' AND outcome = 'ok'
), submits AS (
  SELECT (completed_ns - invoked_ns) / 1e6 AS ms FROM operations WHERE kind = 'submit_run' AND phase = 'main' AND outcome = 'ok'
)
SELECT 'claims_per_second' AS name, 'claims/s' AS unit, claims / nullif(seconds, 0) AS value FROM span
UNION ALL SELECT 'jobs_per_second', 'jobs/s', jobs / nullif(seconds, 0) FROM span
UNION ALL SELECT 'claim_ms_p50', 'ms', quantile_cont(ms, 0.5) FROM claims_done
UNION ALL SELECT 'claim_ms_p99', 'ms', quantile_cont(ms, 0.99) FROM claims_done
UNION ALL SELECT 'slowest_claim_ms', 'ms', max((completed_ns - invoked_ns) / 1e6) FROM operations WHERE kind = 'claim' AND phase = 'main'
UNION ALL SELECT 'statements_per_claim', 'statements', avg(statements) FROM spent WHERE (SELECT count(*) FROM statements) > 0
UNION ALL SELECT 'transactions_per_claim', 'transactions', avg(transactions) FROM spent WHERE (SELECT count(*) FROM statements) > 0
UNION ALL SELECT 'round_trips_per_claim', 'round trips', avg(trips) FROM spent WHERE (SELECT sum(trips) FROM statements) > 0
UNION ALL SELECT 'statements_per_finished_job', 'statements', (SELECT statements FROM of_workers) / nullif(
            (SELECT count(DISTINCT job) FROM handles WHERE kind = 'complete' AND phase = 'main' AND outcome = 'ok'), 0)
          WHERE (SELECT count(*) FROM statements) > 0
UNION ALL SELECT 'lock_errors', 'errors', count(*) FROM operations
          WHERE kind = 'claim' AND phase = 'main' AND error_kind IN ('lock', 'deadlock', 'serialization')
UNION ALL SELECT 'witnessed_lock_errors', 'errors', count(*) FROM statements WHERE error_kind IN ('lock', 'deadlock', 'serialization')
UNION ALL SELECT 'writes_per_job', 'writes', writes / jobs FROM written WHERE (SELECT count(*) FROM statements) > 0
UNION ALL SELECT 'pool_acquisitions', 'acquisitions', nullif(count(*), 0) FROM lent
UNION ALL SELECT 'pool_wait_ms_p50', 'ms', quantile_cont(wait_ms, 0.5) FROM lent
UNION ALL SELECT 'pool_wait_ms_p99', 'ms', quantile_cont(wait_ms, 0.99) FROM lent
UNION ALL SELECT 'pool_wait_ms_max', 'ms', max(wait_ms) FROM lent
UNION ALL SELECT 'pool_timeouts', 'time-outs', count(*) FILTER (error_kind = 'timeout') FROM lent HAVING count(*) > 0
UNION ALL SELECT 'pool_peak', 'connections', max(in_use) FROM held
UNION ALL SELECT 'reader_ms_p50', 'ms', quantile_cont(ms, 0.5) FROM status_reads
UNION ALL SELECT 'reader_ms_p99', 'ms', quantile_cont(ms, 0.99) FROM status_reads
UNION ALL SELECT 'reader_ms_max', 'ms', max(ms) FROM status_reads
UNION ALL SELECT 'deletion_ms_p50', 'ms', quantile_cont(ms, 0.5) FROM deletions
UNION ALL SELECT 'deletion_ms_max', 'ms', max(ms) FROM deletions
UNION ALL SELECT 'submit_ms_p50', 'ms', quantile_cont(ms, 0.5) FROM submits;
