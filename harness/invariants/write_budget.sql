-- Claim: Telling the progress of a job costs at most 10 writes.
-- Row: a stretch of work of one worker, one job or several at the same time, in which the database saw more than 10 writes for each job.
--   The one write that ends a job is not counted, nor is anything written by an operation that does not tell of progress, such as a claim.
-- Severity: violation
-- Needs: scan, report_progress, statement
-- Requires: witness
-- Undecidable when: never.
WITH begun AS (
    SELECT *, max(completed_ns) OVER (
        PARTITION BY schedule, worker ORDER BY invoked_ns, operation ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS others_until_ns
    FROM scans
), numbered AS (
    SELECT *, count(*) FILTER (others_until_ns IS NULL OR others_until_ns < invoked_ns)
        OVER (PARTITION BY schedule, worker ORDER BY invoked_ns, operation) AS stretch
    FROM begun
), stretches AS (
    SELECT schedule, worker, stretch, min(invoked_ns) AS from_ns, count(*) AS jobs, list(operation ORDER BY operation) AS operations
    FROM numbered GROUP BY schedule, worker, stretch
), written AS (
    SELECT t.schedule, t.process AS worker, t.started_ns, t.operation, o.kind
    FROM statements AS t LEFT JOIN operations AS o USING (operation)
    WHERE t.kind = 'write' AND t.error_kind IS NULL
        AND coalesce(o.kind IN ('report_progress', 'flush_progress', 'complete', 'fail', 'close'), true)
), writes AS (  -- each belongs to the last stretch that had begun, as it may come late
    SELECT w.schedule, w.worker, s.stretch, count(*) AS writes
    FROM written AS w
    ASOF JOIN stretches AS s ON s.schedule = w.schedule AND s.worker = w.worker AND w.started_ns >= s.from_ns
    GROUP BY ALL
), ending AS (  -- to end several jobs with one call may take a write for each; of a thread's call nobody knows which writes are its own
    SELECT
        o.schedule, split_part(o.process, '.', 1) AS worker, o.invoked_ns,
        least(o.requested, greatest(1, (SELECT count(*) FROM written AS w WHERE w.operation = o.operation))) AS ends
    FROM operations AS o WHERE o.kind IN ('complete', 'fail') AND o.outcome <> 'fail'
), ends AS (
    SELECT o.schedule, o.worker, s.stretch, sum(o.ends)::BIGINT AS ends
    FROM ending AS o
    ASOF JOIN stretches AS s ON s.schedule = o.schedule AND s.worker = o.worker AND o.invoked_ns >= s.from_ns
    GROUP BY ALL
)
SELECT
    s.operations, s.worker AS process, s.jobs, w.writes - coalesce(e.ends, 0) AS writes,
    (w.writes - coalesce(e.ends, 0)) / s.jobs AS writes_per_job
FROM stretches AS s
JOIN writes AS w USING (schedule, worker, stretch)
LEFT JOIN ends AS e USING (schedule, worker, stretch)
WHERE w.writes - coalesce(e.ends, 0) > 10 * s.jobs
