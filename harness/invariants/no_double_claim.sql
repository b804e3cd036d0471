-- Claim: A job handed to a worker is handed to nobody else before its claim ended.
-- Row: two claims in a row got the job (or one claim got it twice), and nothing that could have ended the first happened in
--   between: its holder did not give the job back, its lease could not have run out, its holder was not dead. Completing a job ends
--   nothing: a finished job handed out again is a double claim.
-- Severity: violation
-- Needs: claim
-- Requires: exclusive-claims
-- Undecidable when: the id was given to more than one job, or may have been.
WITH repeated AS (
    SELECT schedule, job FROM jobs WHERE claims > 1
), ordered AS (
    SELECT *, row_number() OVER (PARTITION BY schedule, job ORDER BY completed_ns, operation, position) AS n
    FROM handed_out SEMI JOIN repeated USING (schedule, job)
), pairs AS (
    SELECT
        a.schedule, a.job, a.n, a.operation AS first_operation, b.operation AS second_operation,
        a.process AS holder, split_part(a.process, '.', 1) AS worker, b.process AS taker, a.token AS first_token, b.token AS second_token,
        a.invoked_ns AS held_from_ns, a.completed_ns AS held_ns, b.invoked_ns AS asked_ns, b.completed_ns AS taken_ns
    FROM ordered AS a JOIN ordered AS b ON a.schedule = b.schedule AND a.job = b.job AND b.n = a.n + 1
), given AS (
    SELECT DISTINCT p.schedule, p.job, p.n
    FROM pairs AS p JOIN given_back AS g ON g.schedule = p.schedule AND g.job = p.job AND split_part(g.process, '.', 1) = p.worker
    WHERE g.invoked_ns >= p.held_ns AND g.invoked_ns < p.taken_ns
), renewals AS (
    SELECT p.schedule, p.job, p.n, max(h.invoked_ns) AS renewed_ns
    FROM pairs AS p JOIN extended AS h ON h.schedule = p.schedule AND h.job = p.job AND split_part(h.process, '.', 1) = p.worker
    WHERE h.invoked_ns >= p.held_ns AND h.completed_ns <= p.asked_ns
    GROUP BY ALL
), done AS (
    SELECT DISTINCT p.schedule, p.job, p.n
    FROM pairs AS p JOIN finished AS f ON f.schedule = p.schedule AND f.job = p.job
    WHERE f.completed_ns <= p.asked_ns
)
SELECT
    list_sort(list_distinct([p.first_operation, p.second_operation])) AS operations,
    p.job, p.holder, p.taker, p.first_token, p.second_token,
    p.taken_ns - p.held_ns AS apart_ns,
    d.n IS NOT NULL AS finished_before,
    CASE WHEN r.job IS NOT NULL AND p.first_operation <> p.second_operation THEN 'its id was given to more than one job, or may have been' END AS undecided
FROM pairs AS p
CROSS JOIN context AS c
LEFT JOIN given AS g USING (schedule, job, n)
LEFT JOIN renewals AS h USING (schedule, job, n)
LEFT JOIN done AS d USING (schedule, job, n)
LEFT JOIN reused AS r USING (schedule, job)
LEFT JOIN deaths AS x ON x.schedule = p.schedule AND x.process = p.worker
WHERE p.first_operation = p.second_operation
    OR (
        g.n IS NULL
        AND (d.n IS NOT NULL OR NOT (
            coalesce(p.taken_ns >= greatest(p.held_from_ns, coalesce(h.renewed_ns, p.held_from_ns)) + c.lease_ns, false)
            OR coalesce(x.died_ns <= p.taken_ns, false)
        ))
    )
