-- Claim: A run is there with all its jobs, or not at all.
-- Row: a read or status that showed a run with some of its jobs only, though nothing had been deleted, completed or given back (or handed
--   out, where that is at most once); a job listed without its run, by a system that lists runs; or a run that was submitted and is not
--   there. How many jobs a run of an unfinished submit must have is known where all such submits were of the same size.
-- Severity: violation
-- Needs: submit_run
-- Requires: none
-- Undecidable when: no run was read.
WITH submitted AS (
    SELECT schedule, (value -> '$.run')::VARCHAR AS run, requested, operation, invoked_ns, completed_ns
    FROM operations WHERE kind = 'submit_run' AND outcome = 'ok'
), unfinished AS (
    SELECT schedule, min(requested) AS requested, min(operation) AS operation
    FROM operations WHERE kind = 'submit_run' AND outcome <> 'ok'
    GROUP BY schedule HAVING count(DISTINCT requested) = 1
), lessened AS (  -- since when there may rightly be less of a run
    SELECT schedule, min(invoked_ns) AS since_ns
    FROM operations, context
    WHERE outcome <> 'fail'
        AND (kind IN ('delete_many', 'clean_by_tag', 'wipe_all', 'complete', 'fail') OR (kind = 'claim' AND semantics = 'at-most-once'))
    GROUP BY schedule
), statuses AS (
    SELECT schedule, operation, process, invoked_ns, completed_ns, (value -> '$.runs')::JSON[] AS runs
    FROM operations WHERE kind = 'status_all' AND outcome = 'ok'
), in_status AS (
    SELECT
        * EXCLUDE (r, runs), (r -> '$.run')::VARCHAR AS run, (r ->> '$.jobs')::BIGINT AS jobs, (r ->> '$.listed')::BOOLEAN AS listed
    FROM (SELECT *, unnest(runs) AS r FROM statuses)
), relating AS (  -- the system's statuses say of which run a job is
    SELECT DISTINCT schedule FROM in_status WHERE jobs > 0
), listing AS (  -- the system lists runs, and not only those without jobs
    SELECT DISTINCT schedule FROM in_status
    GROUP BY schedule, operation HAVING bool_or(NOT listed) AND bool_or(listed AND jobs > 0)
), shown AS (
    SELECT
        schedule, operation, process, invoked_ns, completed_ns, (value -> '$.run')::VARCHAR AS run, (value ->> '$.jobs')::BIGINT AS jobs,
        true AS listed
    FROM operations WHERE kind = 'read_run' AND outcome = 'ok'
    UNION ALL
    FROM in_status SEMI JOIN relating USING (schedule)
    UNION ALL  -- and the runs a status should have shown
    SELECT s.schedule, s.operation, s.process, s.invoked_ns, s.completed_ns, m.run, NULL, true
    FROM statuses AS s SEMI JOIN relating USING (schedule)
    JOIN submitted AS m ON m.schedule = s.schedule AND m.completed_ns <= s.invoked_ns AND m.requested > 0
    ANTI JOIN in_status AS l ON l.operation = s.operation AND l.run = m.run
), compared AS (
    SELECT
        v.*, coalesce(s.operation, u.operation) AS submit_operation,
        coalesce(s.requested, u.requested) AS requested, s.completed_ns AS submitted_ns, c.since_ns
    FROM shown AS v
    LEFT JOIN submitted AS s ON s.schedule = v.schedule AND s.run = v.run AND s.invoked_ns <= v.completed_ns
    LEFT JOIN unfinished AS u ON u.schedule = v.schedule AND s.operation IS NULL
    LEFT JOIN lessened AS c ON c.schedule = v.schedule
), wrong AS (
    SELECT *, CASE
        WHEN NOT listed THEN CASE WHEN schedule IN (SELECT schedule FROM listing) THEN 'its jobs were listed without it' END
        WHEN since_ns <= completed_ns THEN NULL
        WHEN jobs <> requested THEN 'it had some of its jobs only'
        WHEN jobs IS NULL AND submitted_ns <= invoked_ns THEN 'it was not there'
    END AS wrong
    FROM compared
)
SELECT
    list_sort(list_filter([min(operation), any_value(submit_operation)], lambda n: n IS NOT NULL)) AS operations,
    min_by(process, operation) AS process, run, wrong, min_by(jobs, operation) AS jobs, any_value(requested) AS submitted,
    count(*) AS times, NULL AS undecided
FROM wrong WHERE wrong IS NOT NULL
GROUP BY schedule, run, wrong
UNION ALL
SELECT []::BIGINT[], NULL, NULL, NULL, NULL, NULL, NULL, 'no run was read'
FROM context WHERE NOT EXISTS (FROM shown)
