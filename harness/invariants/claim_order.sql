-- Claim: Jobs are handed out by priority, the larger first, then in the order they were enqueued.
-- Row: a claim got a job while a better one was free from before the claim was invoked until after it had returned; or an answer
--   lists a better job right after a worse one. Better is: of greater priority; or of the same and earlier in the same enqueue, or
--   from an enqueue that had returned before the other's was invoked. The better job had never been claimed (one given back may
--   rightly queue at the end). Claims that overlap a failed or unknown one are left out, and so are ids that were
--   given to more than one job, or may have been, and jobs handed out before they were enqueued.
-- Severity: violation
-- Needs: enqueue, claim
-- Requires: ordered
-- Undecidable when: never; what is not certain is no row.
WITH places AS (  -- this order agrees with "better": only where a job before it was free for longer may a job be out of turn
    SELECT
        schedule, job, enqueue_operation, position, priority, enqueue_asked_ns, first_claimed_ns,
        max(CASE WHEN first_used_ns >= enqueue_asked_ns THEN first_used_ns ELSE 9223372036854775807 END) OVER (
            PARTITION BY schedule ORDER BY priority DESC, enqueue_operation, position
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS better_until_ns
    FROM jobs ANTI JOIN reused USING (schedule, job) WHERE enqueues = 1
), doubtful AS (
    SELECT
        h.schedule, h.operation, h.process, h.position, h.job, h.invoked_ns, h.completed_ns,
        p.priority, p.enqueue_operation, p.position AS enqueue_position, p.enqueue_asked_ns
    FROM handed_out AS h
    JOIN (SELECT * FROM places WHERE better_until_ns > first_claimed_ns) AS p USING (schedule, job)
    WHERE p.better_until_ns > h.completed_ns AND p.enqueue_asked_ns <= h.completed_ns
), suspects AS MATERIALIZED (
    SELECT d.*
    FROM doubtful AS d ASOF LEFT JOIN trouble AS t ON d.schedule = t.schedule AND d.completed_ns >= t.invoked_ns
    WHERE t.until_ns IS NULL OR t.until_ns < d.invoked_ns
), contenders AS MATERIALIZED (
    SELECT * FROM free_jobs ANTI JOIN reused USING (schedule, job)
    WHERE cause = 'enqueue' AND until_ns > (SELECT min(completed_ns) FROM suspects)
), first_in_enqueue AS (  -- of the jobs of one enqueue and priority: those that stay free longer than all before them
    SELECT * FROM contenders
    QUALIFY until_ns = max(until_ns) OVER (PARTITION BY schedule, operation, priority ORDER BY position)
), first_of_priority AS (  -- of the jobs of one priority: those that stay free longer than all that became free before them
    SELECT * FROM contenders
    QUALIFY until_ns = max(until_ns) OVER (PARTITION BY schedule, priority ORDER BY start_ns)
), passed_over AS (
    SELECT s.*, k.job AS better_job, k.priority AS better_priority, k.operation AS better_operation
    FROM suspects AS s
    ASOF JOIN first_in_enqueue AS k ON s.schedule = k.schedule AND s.enqueue_operation = k.operation
        AND s.priority = k.priority AND s.enqueue_position > k.position
    WHERE k.start_ns < s.invoked_ns AND k.until_ns > s.completed_ns
    UNION ALL
    SELECT s.* EXCLUDE (before_ns), k.job, k.priority, k.operation
    FROM (SELECT *, least(invoked_ns, enqueue_asked_ns) AS before_ns FROM suspects) AS s
    ASOF JOIN first_of_priority AS k ON s.schedule = k.schedule AND s.priority = k.priority AND s.before_ns > k.start_ns
    WHERE k.until_ns > s.completed_ns
    UNION ALL
    SELECT s.* EXCLUDE (greater), k.job, k.priority, k.operation
    FROM (
        SELECT s.*, p.priority AS greater
        FROM suspects AS s JOIN (SELECT DISTINCT schedule, priority FROM contenders) AS p
            ON p.schedule = s.schedule AND p.priority > s.priority
    ) AS s
    ASOF JOIN first_of_priority AS k ON s.schedule = k.schedule AND s.greater = k.priority AND s.invoked_ns > k.start_ns
    WHERE k.until_ns > s.completed_ns
), answers AS MATERIALIZED (  -- the jobs of answers that list more than one
    SELECT c.schedule, c.operation, c.process, c.invoked_ns, h.position, j.job, j.priority, j.enqueue_operation,
        j.position AS enqueue_position, j.enqueue_asked_ns, j.enqueued_ns
    FROM (SELECT * FROM undisturbed_claims WHERE returned > 1) AS c
    JOIN handed_out AS h USING (schedule, operation)
    JOIN (SELECT * FROM jobs ANTI JOIN reused USING (schedule, job) WHERE enqueues = 1) AS j
        ON j.schedule = h.schedule AND j.job = h.job AND j.enqueue_asked_ns <= c.completed_ns
)
SELECT
    list_sort(list_distinct([operation, enqueue_operation, better_operation])) AS operations,
    job, priority, better_job, better_priority, process, 'a better job was free' AS wrong
FROM passed_over
QUALIFY row_number() OVER (PARTITION BY operation, position ORDER BY better_priority DESC, better_operation, better_job) = 1
UNION ALL
SELECT
    list_sort(list_distinct([a.operation, a.enqueue_operation, b.enqueue_operation])),
    a.job, a.priority, b.job, b.priority, a.process, 'the answer is out of order'
FROM answers AS a
JOIN answers AS b ON b.operation = a.operation AND b.position = a.position + 1
JOIN free_jobs AS f ON f.schedule = b.schedule AND f.job = b.job AND f.cause = 'enqueue' AND f.until_ns >= b.invoked_ns
WHERE b.priority > a.priority
    OR (b.priority = a.priority AND b.enqueue_operation = a.enqueue_operation AND b.enqueue_position < a.enqueue_position)
    OR (b.priority = a.priority AND b.enqueued_ns < a.enqueue_asked_ns)
