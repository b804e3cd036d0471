-- Claim: The progress of a job never goes back within one attempt, and does not change once the job is finished.
-- Row: two reads of a job, one after the other, the later of which showed less; or, the job being finished before both, something else.
-- Severity: violation
-- Needs: read_progress
-- Requires: none
-- Undecidable when: never.
WITH done AS (
    SELECT schedule, job, min(completed_ns) AS done_ns FROM finished GROUP BY schedule, job
), best AS (  -- the most that had been shown by the end of each read
    SELECT
        schedule, job, attempt, completed_ns,
        max(fraction) OVER w AS shown, arg_max(operation, fraction) OVER w AS operation
    FROM readings
    WHERE fraction IS NOT NULL
    WINDOW w AS (PARTITION BY schedule, job, attempt ORDER BY completed_ns, operation)
), lowered AS (
    SELECT
        [b.operation, r.operation] AS operations, r.job, r.process, b.shown AS before, coalesce(r.fraction, 0) AS after,
        'went back' AS wrong
    FROM readings AS r
    ASOF JOIN best AS b ON b.schedule = r.schedule AND b.job = r.job AND b.attempt = r.attempt AND r.invoked_ns >= b.completed_ns
    WHERE coalesce(r.fraction, -1) < b.shown - 1e-6
), settled AS (  -- what the first read after its end showed of a job, be it nothing
    SELECT
        r.schedule, r.job, r.attempt, min(r.operation) AS operation, arg_min_null(r.fraction, r.operation) AS fraction
    FROM readings AS r JOIN done AS d ON d.schedule = r.schedule AND d.job = r.job AND r.invoked_ns >= d.done_ns
    GROUP BY ALL
), raised AS (
    SELECT
        [s.operation, r.operation] AS operations, r.job, r.process, s.fraction AS before, r.fraction AS after,
        'changed after its end' AS wrong
    FROM settled AS s
    JOIN readings AS r ON r.schedule = s.schedule AND r.job = s.job AND r.attempt = s.attempt
    JOIN done AS d ON d.schedule = r.schedule AND d.job = r.job AND r.invoked_ns >= d.done_ns
    WHERE coalesce(r.fraction, -1) > coalesce(s.fraction, -1) + 1e-6
)
FROM lowered UNION ALL FROM raised
