-- Claim: Every job that was enqueued is handed out and finished once the queue has been drained.
-- Row: a job that no claim ever got, or that its last holder neither completed nor gave back, although the quiet phase claimed
--   until the queue said it was empty. An at-most-once system may lose the jobs of a holder that died; a job that was handed out as often
--   as the run's max_attempts allows may be dead.
-- Severity: violation
-- Needs: enqueue, claim
-- Requires: complete
-- Undecidable when: no claim of the quiet phase came back empty; or only what nobody knows could explain the job: a claim of unknown
--   outcome may have taken it, and its lease may still have been running, or there are none and nobody died, or that was its last attempt;
--   something that deletes may have taken it; its lease may still have been running; its id was given to more than one job; whoever was to
--   recover in the quiet phase only lost its connection.
WITH unrecovered AS (
    SELECT schedule FROM operations WHERE kind = 'recover' AND phase = 'quiet'
    GROUP BY schedule HAVING bool_and(outcome <> 'ok' AND coalesce(error_kind = 'connection', false))
), drained AS (
    SELECT schedule, arg_max(operation, invoked_ns) AS operation, max(invoked_ns) AS drained_ns
    FROM claims WHERE phase = 'quiet' AND outcome = 'ok' AND returned = 0
    GROUP BY schedule
), loose AS (
    SELECT
        j.schedule, j.job, j.claims, j.enqueue_operation, j.enqueue_asked_ns, j.enqueued_ns, j.last_claimed_ns AS claimed_ns, j.enqueues,
        j.last_ended_ns,
        arg_max(h.operation, h.completed_ns) AS claim_operation, arg_max(h.process, h.completed_ns) AS holder,
        arg_max(h.invoked_ns, h.completed_ns) AS claim_asked_ns, count(DISTINCT h.operation) AS attempts
    FROM jobs AS j
    LEFT JOIN handed_out AS h ON h.schedule = j.schedule AND h.job = j.job
    WHERE j.enqueues > 0 AND (j.claims = 0 OR j.last_ended_ns IS NULL OR j.last_ended_ns < j.last_claimed_ns)
    GROUP BY ALL
    HAVING j.last_ended_ns IS NULL OR count(h.operation) = 0 OR j.last_ended_ns < claim_asked_ns  -- else the end may be of that claim
), renewed AS (
    SELECT schedule, job, max(invoked_ns) AS renewed_ns FROM extended SEMI JOIN loose USING (schedule, job) GROUP BY schedule, job
), unknown AS (  -- claims of unknown outcome: what they took comes back when their lease is over; never, without leases, unless they died
    SELECT
        schedule, count(*) AS claims, max(ended_ns) AS latest_ns, max(ended_ns) FILTER (lasting_ns = 0) AS died_ns,
        max(CASE WHEN ended_ns = 9223372036854775807 THEN ended_ns ELSE ended_ns + coalesce(lease_ns, lasting_ns) END) AS until_ns
    FROM (
        SELECT
            c.schedule, x.lease_ns, least(coalesce(c.completed_ns, 9223372036854775807), coalesce(d.died_ns, 9223372036854775807)) AS ended_ns,
            CASE WHEN d.died_ns IS NULL THEN 4611686018427387903 ELSE 0 END AS lasting_ns
        FROM claims AS c
        CROSS JOIN context AS x
        LEFT JOIN deaths AS d ON d.schedule = c.schedule AND d.process = split_part(c.process, '.', 1)
        WHERE c.outcome = 'info'
    )
    GROUP BY schedule
), cleared AS (
    SELECT schedule, max(completed_ns) AS latest_ns FROM deletions WHERE outcome <> 'fail' GROUP BY schedule
)
SELECT
    list_sort(list_filter([o.enqueue_operation, o.claim_operation, d.operation], lambda n: n IS NOT NULL)) AS operations,
    o.job,
    CASE WHEN o.claim_operation IS NULL THEN 'never handed out' ELSE 'never finished' END AS fate,
    o.holder,
    CASE
        WHEN d.drained_ns IS NULL THEN 'no claim of the quiet phase came back empty'
        WHEN d.drained_ns < o.enqueued_ns THEN 'no claim after it was enqueued came back empty in the quiet phase'
        WHEN o.enqueues > 1 THEN 'its id was given to more than one job'
        WHEN o.claim_operation IS NULL AND u.latest_ns >= o.enqueue_asked_ns AND u.until_ns >= d.drained_ns THEN 'a claim of unknown outcome may have taken it'
        WHEN u.latest_ns >= o.enqueue_asked_ns AND o.attempts + u.claims >= c.max_attempts THEN 'a claim of unknown outcome may have been its last attempt'
        WHEN w.schedule IS NOT NULL THEN 'whoever was to recover in the quiet phase lost its connection'
        WHEN y.latest_ns >= o.enqueue_asked_ns THEN 'something that deletes may have taken it'
        WHEN o.claim_operation IS NOT NULL AND d.drained_ns < o.claimed_ns THEN 'it was handed out after the queue had been drained'
        WHEN d.drained_ns < greatest(o.claimed_ns, h.renewed_ns) + c.lease_ns THEN 'its lease may still have been running'
    END AS undecided
FROM loose AS o
CROSS JOIN context AS c
LEFT JOIN drained AS d USING (schedule)
LEFT JOIN renewed AS h USING (schedule, job)
LEFT JOIN unknown AS u USING (schedule)
LEFT JOIN cleared AS y USING (schedule)
LEFT JOIN unrecovered AS w USING (schedule)
LEFT JOIN deaths AS x ON x.schedule = o.schedule AND x.process = o.holder
LEFT JOIN processes AS p ON p.schedule = o.schedule AND p.process = o.holder
WHERE coalesce(o.attempts < c.max_attempts, true) AND NOT (
    c.semantics = 'at-most-once' AND (
        (o.claim_operation IS NOT NULL AND (x.died_ns IS NOT NULL OR p.process IS NOT NULL) AND p.ended IS DISTINCT FROM 'done')
        OR (o.claim_operation IS NULL AND coalesce(u.died_ns >= o.enqueue_asked_ns, false))
    )
)
