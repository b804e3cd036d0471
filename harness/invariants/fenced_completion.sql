-- Claim: A worker whose claim was superseded cannot complete the job.
-- Row: the system accepted a completion although, before it was invoked, another claim of the job (another process or token),
--   certainly later than the completing worker's own, had returned.
-- Severity: violation
-- Needs: claim, complete
-- Requires: tokens
-- Undecidable when: the id was given to more than one job, or may have been.
WITH repeated AS (
    SELECT schedule, job FROM jobs WHERE claims > 1 AND completions > 0
), owners AS (  -- the claim each completion speaks for: the last one that gave this job and token to this process
    SELECT f.schedule, f.job, f.operation, f.position, f.process, f.token, f.invoked_ns, max(a.completed_ns) AS claimed_ns
    FROM (SELECT * FROM finished SEMI JOIN repeated USING (schedule, job)) AS f
    JOIN handed_out AS a ON a.schedule = f.schedule AND a.job = f.job AND split_part(a.process, '.', 1) = split_part(f.process, '.', 1)
        AND a.token IS NOT DISTINCT FROM f.token AND a.completed_ns <= f.invoked_ns
    GROUP BY ALL
), superseded AS (
    SELECT
        o.schedule, o.job, o.operation, o.process, o.token,
        arg_min(struct_pack(operation := b.operation, process := b.process, token := b.token), b.completed_ns) AS later
    FROM owners AS o
    JOIN handed_out AS b ON b.schedule = o.schedule AND b.job = o.job
        AND (split_part(b.process, '.', 1) <> split_part(o.process, '.', 1) OR b.token IS DISTINCT FROM o.token)
        AND b.invoked_ns >= o.claimed_ns AND b.completed_ns < o.invoked_ns
    GROUP BY ALL
)
SELECT
    list_sort([s.later.operation, s.operation]) AS operations,
    s.job, s.token, s.process, s.later.process AS later_process, s.later.token AS later_token,
    CASE WHEN r.job IS NOT NULL THEN 'its id was given to more than one job, or may have been' END AS undecided
FROM superseded AS s LEFT JOIN reused AS r USING (schedule, job)
