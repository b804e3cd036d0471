-- Claim: The progress of a job never goes back within one attempt, and does not change once the job is finished.
-- Row: two reads of a job, one after the other, the later of which showed less; or, the job being finished before both, something else.
-- Severity: violation
-- Needs: read_progress
-- Requires: none
-- Undecidable when: never.
WITH best AS (  -- the most that had been shown by the end of each read
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
), over AS (  -- reads of an attempt that had been finished
    SELECT r.*
    FROM readings AS r
    SEMI JOIN finished AS f ON f.schedule = r.schedule AND f.job = r.job
        AND f.invoked_ns >= coalesce(r.claimed_ns, 0) AND f.completed_ns <= r.invoked_ns
), settled AS (  -- what the first of them showed, be it nothing
    SELECT schedule, job, attempt, min(operation) AS operation, arg_min_null(fraction, operation) AS fraction
    FROM over GROUP BY ALL
), raised AS (
    SELECT
        [s.operation, r.operation] AS operations, r.job, r.process, s.fraction AS before, r.fraction AS after,
        'changed after its end' AS wrong
    FROM settled AS s
    JOIN over AS r ON r.schedule = s.schedule AND r.job = s.job AND r.attempt = s.attempt
    WHERE coalesce(r.fraction, -1) > coalesce(s.fraction, -1) + 1e-6
)
FROM lowered UNION ALL FROM raised
