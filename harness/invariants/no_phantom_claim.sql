-- Claim: Only jobs that were enqueued are handed out, and not before they were.
-- Row: a claim got an id that no enqueue returned, or got it before the enqueue that returned it was invoked.
--   `enqueued_as` is the id that was enqueued where it differs in its JSON type only: 7 and "7" are different jobs.
-- Severity: violation
-- Needs: claim, enqueue
-- Requires: none
-- Undecidable when: an enqueue of unknown outcome or a submit, invoked before the claim was over, may have made the job.
WITH suspects AS (
    SELECT schedule, job FROM jobs WHERE claims > 0 AND (enqueues = 0 OR first_claimed_ns < enqueue_asked_ns)
), known AS (
    SELECT schedule, job, min(invoked_ns) AS invoked_ns, arg_min(operation, invoked_ns) AS operation
    FROM enqueued SEMI JOIN suspects USING (schedule, job) GROUP BY schedule, job
), strangers AS (
    SELECT h.schedule, h.operation, h.process, h.completed_ns, h.job, h.token, k.operation AS enqueue_operation
    FROM handed_out AS h SEMI JOIN suspects USING (schedule, job) LEFT JOIN known AS k USING (schedule, job)
    WHERE k.job IS NULL OR h.completed_ns < k.invoked_ns
), unknown AS (
    SELECT schedule, min(invoked_ns) AS invoked_ns FROM operations
    WHERE (kind = 'enqueue' AND outcome = 'info') OR (kind = 'submit_run' AND outcome <> 'fail') GROUP BY schedule
), alike AS (
    SELECT j.schedule, json_extract_string(j.job, '$') AS text, min(j.job) AS job
    FROM jobs AS j SEMI JOIN (SELECT DISTINCT schedule FROM suspects) AS s USING (schedule)
    WHERE j.enqueues > 0 GROUP BY ALL
)
SELECT
    list_sort(list_filter([s.operation, s.enqueue_operation], lambda n: n IS NOT NULL)) AS operations,
    s.job, s.token, s.process,
    CASE WHEN s.enqueue_operation IS NULL THEN a.job END AS enqueued_as_job,
    s.enqueue_operation IS NOT NULL AS enqueued_later,
    CASE WHEN u.invoked_ns <= s.completed_ns THEN 'an enqueue of unknown outcome or a submit may have made the job' END AS undecided
FROM strangers AS s
LEFT JOIN unknown AS u USING (schedule)
LEFT JOIN alike AS a ON a.schedule = s.schedule AND a.text = json_extract_string(s.job, '$')
