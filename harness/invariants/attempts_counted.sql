-- Claim: The attempt a claim reports is the number of times the job has been claimed, and no job has more than it may have.
-- Row: a claim whose attempt is lower than the claims certainly before it allow, higher than all claims possibly before it allow
--   (claims of unknown outcome count as possible), not above that of a claim certainly before it, or the same as another's; or that handed
--   a job out, by its own account or by the claims certainly before it, more often than the run's max_attempts: `allowed`, else null.
-- Severity: violation
-- Needs: claim
-- Requires: attempts
-- Undecidable when: the id was given to more than one job, or may have been.
WITH suspects AS (
    SELECT schedule, job FROM jobs WHERE claims > 1 OR last_attempt <> 1
), each AS (
    SELECT schedule, job, operation, process, invoked_ns, completed_ns, max(attempt) AS attempt
    FROM handed_out SEMI JOIN suspects USING (schedule, job)
    GROUP BY ALL
), unknown AS (
    SELECT schedule, invoked_ns, count(*) OVER (PARTITION BY schedule ORDER BY invoked_ns) AS claims
    FROM claims WHERE outcome = 'info'
), counted AS (
    SELECT
        a.schedule, a.job, a.operation, a.process, a.completed_ns, a.attempt,
        1 + count(b.operation) FILTER (b.completed_ns < a.invoked_ns) AS least,
        1 + count(b.operation) FILTER (b.invoked_ns <= a.completed_ns) AS most_seen,
        max(b.attempt) FILTER (b.completed_ns < a.invoked_ns) AS before,
        arg_max(b.operation, b.attempt) FILTER (b.completed_ns < a.invoked_ns) AS before_operation,
        min(b.operation) FILTER (b.attempt = a.attempt AND b.operation < a.operation) AS same_operation
    FROM each AS a
    LEFT JOIN each AS b ON b.schedule = a.schedule AND b.job = a.job AND b.operation <> a.operation
    GROUP BY ALL
)
SELECT
    list_sort(list_distinct(list_filter(
        [c.operation, CASE WHEN c.attempt <= c.before OR greatest(c.attempt, c.least) > x.max_attempts THEN c.before_operation END, c.same_operation],
        lambda n: n IS NOT NULL
    ))) AS operations,
    c.job, c.attempt, c.least AS expected_at_least, c.most_seen + coalesce(u.claims, 0) AS expected_at_most, c.process,
    CASE WHEN greatest(c.attempt, c.least) > x.max_attempts THEN x.max_attempts END AS allowed,
    CASE WHEN r.job IS NOT NULL THEN 'its id was given to more than one job, or may have been' END AS undecided
FROM counted AS c
CROSS JOIN context AS x
ASOF LEFT JOIN unknown AS u ON c.schedule = u.schedule AND c.completed_ns >= u.invoked_ns
LEFT JOIN reused AS r ON r.schedule = c.schedule AND r.job = c.job
WHERE c.attempt < c.least OR c.attempt > c.most_seen + coalesce(u.claims, 0)
    OR c.attempt <= c.before OR c.same_operation IS NOT NULL OR greatest(c.attempt, c.least) > x.max_attempts
