-- Claim: A larger batch costs at most half a statement for each further job.
-- Row: over the rounds of the main phase, the line fitted through statements (reads and writes) against what was obtained (jobs claimed,
--   submitted, deleted) rises by more than 0.5 for each. About 1 is N+1; about 0 is batched.
-- Severity: violation
-- Needs: round, statement
-- Requires: witness
-- Undecidable when: the rounds obtained fewer than two different numbers of jobs, so no line can be fitted.
WITH rounds AS (
    SELECT schedule, operation, process, invoked_ns, completed_ns, returned
    FROM operations WHERE kind = 'round' AND phase = 'main' AND outcome = 'ok'
), obtained AS (
    SELECT r.operation, CASE WHEN count(c.operation) = 0 THEN any_value(r.returned) ELSE sum(c.returned) FILTER (c.outcome = 'ok') END AS jobs
    FROM rounds AS r
    LEFT JOIN claims AS c ON c.schedule = r.schedule AND c.process = r.process
        AND c.invoked_ns >= r.invoked_ns AND c.completed_ns <= r.completed_ns
    GROUP BY r.operation
), spent AS (
    SELECT r.operation, count(*) AS statements
    FROM rounds AS r
    JOIN statements AS s ON s.schedule = r.schedule AND s.process = r.process
        AND s.started_ns >= r.invoked_ns AND s.started_ns <= r.completed_ns
    WHERE s.kind IN ('read', 'write')
    GROUP BY r.operation
), fitted AS (
    SELECT
        r.schedule, list(r.operation ORDER BY r.operation) AS operations,
        regr_slope(coalesce(s.statements, 0), coalesce(o.jobs, 0)) AS slope,
        regr_intercept(coalesce(s.statements, 0), coalesce(o.jobs, 0)) AS intercept,
        count(DISTINCT coalesce(o.jobs, 0)) AS sizes
    FROM rounds AS r LEFT JOIN obtained AS o USING (operation) LEFT JOIN spent AS s USING (operation)
    GROUP BY r.schedule
)
SELECT
    operations, slope AS statements_per_job, intercept AS statements_per_claim,
    CASE WHEN sizes < 2 THEN 'the rounds of the main phase obtained fewer than two different numbers of jobs' END AS undecided
FROM fitted
WHERE sizes < 2 OR slope > 0.5
