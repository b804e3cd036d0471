-- Claim: A change of progress is on the screen within the flush interval and the time of one write.
-- Row: a read of a job's progress that was still behind a change that the job's holder had reported that long before it, and half a second
--   for a busy machine. After the worker died, or the job may have been another's, only what had been reported that long before is owed: a
--   killed worker loses one interval at most. Nothing is owed of what was reported once the job was being completed or given back.
-- Severity: violation
-- Needs: report_progress, read_progress
-- Requires: interval
-- Undecidable when: never.
WITH allowance AS (  -- a write may wait for its lock at the beginning of its transaction
    SELECT
        c.flush_interval_ns + 500000000
            + coalesce((SELECT max(ended_ns - started_ns) FROM statements WHERE kind IN ('begin', 'write', 'commit')), 0) AS allowed_ns
    FROM context AS c
), ahead AS (
    SELECT
        r.schedule, r.job, r.operation AS read_operation, r.process, r.fraction AS shown,
        t.operation AS report_operation, t.worker, t.completed_ns AS told_ns, t.fraction AS told,
        least(r.invoked_ns, d.died_ns, CASE WHEN c.ended_ns IS NULL OR c.until_ns < c.ended_ns THEN c.until_ns END) AS due_ns
    FROM readings AS r
    JOIN holds AS c ON c.schedule = r.schedule AND c.job = r.job AND c.from_ns = r.claimed_ns
    JOIN reports AS t ON t.schedule = r.schedule AND t.job = r.job AND t.worker = split_part(c.process, '.', 1)
        AND t.invoked_ns >= c.from_ns AND t.completed_ns <= least(r.invoked_ns, c.until_ns)
        AND t.fraction > coalesce(r.fraction, -1) + 1e-6
    LEFT JOIN deaths AS d ON d.schedule = t.schedule AND d.process = t.worker
), late AS (
    SELECT
        schedule, job, read_operation, process, shown, any_value(worker) AS worker, min(told_ns) AS told_ns,
        min_by(report_operation, told_ns) AS report_operation, min_by(told, told_ns) AS told,
        min(due_ns) - min(told_ns) AS behind_ns
    FROM ahead GROUP BY schedule, job, read_operation, process, shown
)
SELECT
    [report_operation, read_operation] AS operations, job, process, worker, told, shown, behind_ns, a.allowed_ns
FROM late CROSS JOIN allowance AS a
WHERE behind_ns > a.allowed_ns
