-- Claim: The most that was told of a job's progress has landed when the job is completed or given back, or its worker closed the queue.
-- Row: a read made after that end showed less than the job's holder had told before it. Holder is who nobody can have taken the job from.
-- Severity: violation
-- Needs: report_progress, read_progress
-- Requires: none
-- Undecidable when: a job was never read after its end; or none of which progress was told was ended.
WITH stops AS (
    SELECT schedule, job, split_part(process, '.', 1) AS worker, operation, kind, invoked_ns, completed_ns
    FROM handles WHERE kind IN ('complete', 'fail') AND outcome = 'ok' AND accepted
    UNION ALL
    SELECT h.schedule, h.job, o.process, o.operation, o.kind, o.invoked_ns, o.completed_ns
    FROM holds AS h
    JOIN operations AS o ON o.schedule = h.schedule AND o.kind = 'close' AND o.outcome = 'ok' AND o.process = split_part(h.process, '.', 1)
        AND o.invoked_ns >= h.from_ns
    WHERE h.ended IS NULL
), told AS (
    SELECT
        s.schedule, s.job, s.worker, s.operation, s.kind, c.from_ns, s.completed_ns AS stopped_ns, max(t.fraction) AS told,
        max_by(t.operation, t.fraction) AS report_operation
    FROM stops AS s
    JOIN holds AS c ON c.schedule = s.schedule AND c.job = s.job AND split_part(c.process, '.', 1) = s.worker
    JOIN reports AS t ON t.schedule = s.schedule AND t.job = s.job AND t.worker = s.worker
        AND t.invoked_ns >= c.from_ns AND t.completed_ns <= least(s.invoked_ns, c.ended_ns)
    WHERE c.until_ns >= least(s.invoked_ns, c.ended_ns) AND c.from_ns = (
        SELECT max(l.completed_ns) FROM handed_out AS l
        WHERE l.schedule = s.schedule AND l.job = s.job AND l.completed_ns <= s.invoked_ns
    )
    GROUP BY ALL
), after AS (  -- by the reads of the same attempt
    SELECT t.*, r.operation AS read_operation, r.fraction AS shown
    FROM told AS t
    LEFT JOIN readings AS r ON r.schedule = t.schedule AND r.job = t.job AND r.invoked_ns >= t.stopped_ns AND r.claimed_ns = t.from_ns
)
SELECT
    list_sort(list_filter([report_operation, operation, min(read_operation)], lambda n: n IS NOT NULL)) AS operations,
    job, worker, kind, told, arg_min_null(shown, read_operation) AS shown,
    CASE WHEN count(read_operation) = 0 THEN 'a job was never read after its end' END AS undecided
FROM after
WHERE read_operation IS NULL OR coalesce(shown, -1) < told - 1e-6
GROUP BY schedule, job, worker, kind, operation, report_operation, told
UNION ALL
SELECT []::BIGINT[], NULL, NULL, NULL, NULL, NULL, 'no job of which progress was told was ended'
FROM context WHERE NOT EXISTS (FROM told)
