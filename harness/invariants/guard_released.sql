-- Claim: Once the holder of a single-worker file is dead, the next process to ask is admitted within a second.
-- Row: a process asked a second or more after the last death, when nobody had been admitted since, and was refused. A process that
--   was only slow to ask is no violation.
-- Severity: violation
-- Needs: open, kill
-- Requires: none
-- Undecidable when: after the death nobody was admitted, and nobody asked for a whole second.
WITH death AS (
    SELECT schedule, max(completed_ns) AS dead_ns FROM operations WHERE kind = 'kill' AND outcome = 'ok' GROUP BY schedule
), attempts AS (
    SELECT d.schedule, d.dead_ns, o.operation, o.process, o.outcome, o.invoked_ns, o.completed_ns
    FROM death AS d JOIN operations AS o ON o.schedule = d.schedule AND o.kind = 'open' AND o.invoked_ns >= d.dead_ns
), admitted AS (
    SELECT schedule, min(invoked_ns) AS admitted_ns FROM attempts WHERE outcome = 'ok' GROUP BY schedule
), refused AS (
    SELECT a.*
    FROM attempts AS a LEFT JOIN admitted AS m USING (schedule)
    WHERE a.outcome = 'fail' AND a.invoked_ns - a.dead_ns >= 1000000000 AND (m.admitted_ns IS NULL OR m.admitted_ns >= a.completed_ns)
)
SELECT [operation] AS operations, process, invoked_ns - dead_ns AS after_death_ns, NULL AS undecided FROM refused
UNION ALL
SELECT []::BIGINT[], NULL, NULL, 'after the death nobody was admitted, and nobody asked for a whole second'
FROM death ANTI JOIN admitted USING (schedule) ANTI JOIN refused USING (schedule)
