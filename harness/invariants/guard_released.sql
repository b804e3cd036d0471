-- Claim: Once the holder of a single-worker file is dead, the next process to ask is admitted within a second.
-- Row: processes asked after the last death, and none was admitted within a second of it.
-- Severity: violation
-- Needs: open, kill
-- Requires: none
-- Undecidable when: nobody asked for a whole second after the death.
WITH death AS (
    SELECT schedule, max(completed_ns) AS dead_ns FROM operations WHERE kind = 'kill' AND outcome = 'ok' GROUP BY schedule
), attempts AS (
    SELECT
        d.schedule, d.dead_ns, list(o.operation ORDER BY o.operation) AS operations,
        min(o.completed_ns) FILTER (o.outcome = 'ok') AS admitted_ns, max(o.completed_ns) AS last_ns
    FROM death AS d LEFT JOIN operations AS o ON o.schedule = d.schedule AND o.kind = 'open' AND o.invoked_ns >= d.dead_ns
    GROUP BY d.schedule, d.dead_ns
)
SELECT
    coalesce(operations[:20], []) AS operations,
    coalesce(admitted_ns, last_ns) - dead_ns AS waited_ns,
    admitted_ns IS NOT NULL AS admitted_later,
    CASE WHEN coalesce(admitted_ns, last_ns, dead_ns) - dead_ns < 1000000000
        THEN 'nobody asked for a whole second after the death' END AS undecided
FROM attempts
WHERE admitted_ns IS NULL OR admitted_ns - dead_ns >= 1000000000
