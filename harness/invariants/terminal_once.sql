-- Claim: A job is completed once.
-- Row: two operations completed the job, and the system accepted both.
-- Severity: violation
-- Needs: complete
-- Requires: exclusive-claims, asked
-- Undecidable when: the id was given to more than one job, or may have been.
WITH repeated AS (
    SELECT schedule, job FROM jobs WHERE completions > 1
), each AS (
    SELECT DISTINCT schedule, job, operation, process, completed_ns FROM finished SEMI JOIN repeated USING (schedule, job)
), pairs AS (
    SELECT
        *, lag(operation) OVER w AS earlier_operation, lag(process) OVER w AS earlier_process,
        completed_ns - lag(completed_ns) OVER w AS apart_ns
    FROM each WINDOW w AS (PARTITION BY schedule, job ORDER BY completed_ns, operation)
)
SELECT
    list_sort([p.earlier_operation, p.operation]) AS operations,
    p.job, p.earlier_process, p.process, p.apart_ns,
    CASE WHEN r.job IS NOT NULL THEN 'its id was given to more than one job, or may have been' END AS undecided
FROM pairs AS p LEFT JOIN reused AS r USING (schedule, job)
WHERE p.earlier_operation IS NOT NULL
