-- Claim: Nobody waits for a connection of a bounded pool until the wait is given up.
-- Row: an acquisition that ended with the pool's time-out. `operations` are those of its process and its threads that it was part of, as
--   far as they can be told: they were under way, and ended with a pool's time-out too.
-- Severity: violation
-- Needs: acquisition
-- Requires: witness
-- Undecidable when: never.
WITH refused AS (
    SELECT *, row_number() OVER (PARTITION BY schedule, process ORDER BY asked_ns) AS number
    FROM acquisitions WHERE error_kind = 'timeout'
)
SELECT
    coalesce(list(o.operation ORDER BY o.operation) FILTER (o.operation IS NOT NULL), []::BIGINT[])[:6] AS operations,
    r.process, r.pool, r.size, r.ended_ns - r.asked_ns AS waited_ns
FROM refused AS r
LEFT JOIN operations AS o ON o.schedule = r.schedule AND split_part(o.process, '.', 1) = r.process AND o.error_kind = 'pool'
    AND o.invoked_ns <= r.asked_ns AND o.completed_ns >= r.ended_ns
GROUP BY r.schedule, r.process, r.number, r.pool, r.size, r.ended_ns, r.asked_ns
