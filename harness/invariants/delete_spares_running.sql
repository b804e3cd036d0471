-- Claim: A job in a worker's hands is never deleted.
-- Row: a status taken while a worker held the job did not list it; or the worker's complete was refused although nobody else was handed
--   the job or may have ended it, its lease was running, and something that deletes went on while it was held.
-- Severity: violation
-- Needs: claim, status_all
-- Requires: complete, held-jobs
-- Undecidable when: no status was taken while a worker held a job.
WITH statuses AS (
    SELECT schedule, operation, process, invoked_ns, completed_ns FROM operations WHERE kind = 'status_all' AND outcome = 'ok'
), taken AS (
    SELECT
        h.schedule, h.job, h.operation, h.process, s.operation AS status_operation, s.process AS reader
    FROM holds AS h
    JOIN statuses AS s ON s.schedule = h.schedule AND s.invoked_ns >= h.from_ns AND s.completed_ns <= h.until_ns
), missing AS (
    SELECT t.*
    FROM taken AS t
    ANTI JOIN (SELECT operation AS status_operation, job FROM handles WHERE kind = 'status_all') AS l USING (status_operation, job)
), unknown AS (
    SELECT u.schedule, min(u.invoked_ns) AS since_ns
    FROM claims AS u, context AS x WHERE u.outcome = 'info' AND x.semantics = 'at-least-once' GROUP BY u.schedule
), refused AS (
    SELECT h.schedule, h.job, h.operation, h.process, h.ended, min(d.operation) AS deletion
    FROM holds AS h
    CROSS JOIN context AS x
    JOIN handles AS e ON e.operation = h.ended AND e.job = h.job AND e.kind = 'complete' AND e.outcome = 'ok' AND NOT e.accepted
    JOIN deletions AS d ON d.schedule = h.schedule AND d.outcome <> 'fail'
        AND d.invoked_ns <= e.completed_ns AND d.completed_ns >= h.asked_ns
    JOIN jobs AS j ON j.schedule = h.schedule AND j.job = h.job AND j.claims = 1 AND j.last_ended_ns IS NULL
    LEFT JOIN unknown AS u ON u.schedule = h.schedule AND u.since_ns <= e.completed_ns
    WHERE h.until_ns = h.ended_ns AND coalesce(e.completed_ns <= h.asked_ns + x.lease_ns, true) AND u.schedule IS NULL
    GROUP BY ALL
)
SELECT
    list_sort([operation, min(status_operation)]) AS operations, job, process, min_by(reader, status_operation) AS reader,
    'not listed while it was held' AS wrong, NULL AS undecided
FROM missing GROUP BY schedule, job, process, operation
UNION ALL
SELECT list_sort([operation, deletion, ended]), job, process, NULL, 'complete was refused', NULL
FROM refused ANTI JOIN missing USING (schedule, job)
UNION ALL
SELECT []::BIGINT[], NULL, NULL, NULL, NULL, 'no status was taken while a worker held a job'
FROM context WHERE NOT EXISTS (FROM taken)
