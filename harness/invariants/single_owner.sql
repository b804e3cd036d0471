-- Claim: A job has one owner at a time: nobody is handed it while the lease of another runs.
-- Row: a claim handed out a job although the one before it still owned it: its lease, counted from when its claim or last heartbeat was
--   invoked, had not run out when the later claim had returned, it had not set out to end it, nobody had finished it, and it lived.
-- Severity: violation
-- Needs: claim
-- Requires: lease
-- Undecidable when: the id was given to more than one job, or may have been.
WITH repeated AS (
    SELECT schedule, job FROM jobs WHERE claims > 1
), ordered AS (
    SELECT *, split_part(process, '.', 1) AS worker, row_number() OVER (PARTITION BY schedule, job ORDER BY completed_ns, operation, position) AS n
    FROM handed_out SEMI JOIN repeated USING (schedule, job)
), pairs AS (
    SELECT
        a.schedule, a.job, a.n, a.operation, b.operation AS later_operation, a.process AS owner, a.worker, b.process AS taker,
        a.token AS owner_token, b.token AS taker_token, a.invoked_ns AS owned_from_ns, a.completed_ns AS owned_ns,
        b.invoked_ns AS asked_ns, b.completed_ns AS taken_ns
    FROM ordered AS a JOIN ordered AS b ON a.schedule = b.schedule AND a.job = b.job AND b.n = a.n + 1 AND b.operation <> a.operation
), ended AS (
    SELECT DISTINCT p.schedule, p.job, p.n
    FROM pairs AS p
    JOIN handles AS e ON e.schedule = p.schedule AND e.job = p.job AND e.kind IN ('complete', 'fail') AND e.outcome <> 'fail' AND e.accepted
    WHERE (split_part(e.process, '.', 1) = p.worker AND e.invoked_ns >= p.owned_ns AND e.invoked_ns < p.taken_ns)
        OR (e.kind = 'complete' AND e.outcome = 'ok' AND e.completed_ns <= p.asked_ns)
), renewals AS (
    SELECT p.schedule, p.job, p.n, max(h.invoked_ns) AS renewed_ns
    FROM pairs AS p JOIN extended AS h ON h.schedule = p.schedule AND h.job = p.job AND split_part(h.process, '.', 1) = p.worker
    WHERE h.invoked_ns >= p.owned_ns AND h.completed_ns <= p.asked_ns
    GROUP BY ALL
)
SELECT
    list_sort([p.operation, p.later_operation]) AS operations,
    p.job, p.owner, p.taker, p.owner_token, p.taker_token,
    coalesce(h.renewed_ns, p.owned_from_ns) + c.lease_ns - p.taken_ns AS left_ns,
    CASE WHEN r.job IS NOT NULL THEN 'its id was given to more than one job, or may have been' END AS undecided
FROM pairs AS p
CROSS JOIN context AS c
ANTI JOIN ended AS e USING (schedule, job, n)
LEFT JOIN renewals AS h USING (schedule, job, n)
LEFT JOIN reused AS r USING (schedule, job)
LEFT JOIN deaths AS x ON x.schedule = p.schedule AND x.process = p.worker
WHERE coalesce(h.renewed_ns, p.owned_from_ns) + c.lease_ns > p.taken_ns AND NOT coalesce(x.died_ns <= p.taken_ns, false)
