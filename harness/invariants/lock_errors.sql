-- Claim: Without any fault, at most 1 operation fails on a lock for every 100 claims that got a job.
-- Row: an operation that ended with a lock, deadlock or serialization error, in a history with more of them than that.
-- Severity: violation
-- Needs: claim
-- Requires: no-faults
-- Undecidable when: never.
WITH errors AS (
    SELECT *, count(*) OVER (PARTITION BY schedule) AS errors
    FROM operations
    WHERE outcome <> 'ok' AND error_kind IN ('lock', 'deadlock', 'serialization')
), successes AS (
    SELECT schedule, count(*) AS claims FROM claims WHERE outcome = 'ok' AND returned > 0 GROUP BY schedule
)
SELECT
    [e.operation] AS operations, e.kind, e.process, e.error_kind, e.error_code, e.error_class,
    e.errors, coalesce(s.claims, 0) AS claims_with_jobs
FROM errors AS e LEFT JOIN successes AS s USING (schedule)
WHERE e.errors * 100 > coalesce(s.claims, 0)
