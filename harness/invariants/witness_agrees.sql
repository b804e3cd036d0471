-- Claim: What the processes say and what the database saw do not contradict each other.
-- Row: a process that said it had enqueued, claimed or completed jobs while the database had seen nothing from it that could have done
--   so; or statements of a process the history does not know. Any earlier statement counts, as a client may fetch ahead or write
--   later; on SQLite a claim or enqueue needs a write, but of a system's own loop, which may write what it did at the end; on Postgres a
--   read may call a function that writes.
-- Severity: violation
-- Needs: statement
-- Requires: witness
-- Undecidable when: the witness saw no statement at all.
WITH said AS (
    SELECT schedule, operation, split_part(process, '.', 1) AS process, kind, completed_ns, returned
    FROM operations WHERE outcome = 'ok' AND returned > 0 AND kind IN ('enqueue', 'claim', 'complete')
), seen AS (
    SELECT
        schedule, process, count(*) AS statements,
        min(started_ns) FILTER (error_kind IS NULL AND kind IN ('read', 'write', 'other')) AS any_ns,
        min(started_ns) FILTER (error_kind IS NULL AND kind = 'write') AS write_ns
    FROM statements
    GROUP BY schedule, process
), known AS (
    SELECT schedule, process FROM processes UNION SELECT DISTINCT schedule, process FROM operations
)
SELECT
    [o.operation] AS operations, o.process, o.kind, o.returned AS jobs, 0 AS statements,
    CASE WHEN o.writes THEN 'no write' ELSE 'no statement' END AS contradiction
FROM (
    SELECT said.*, c.database = 'sqlite' AND (kind = 'enqueue' OR kind = 'claim' AND NOT list_contains(c.capabilities, 'work')) AS writes
    FROM said CROSS JOIN context AS c
) AS o
LEFT JOIN seen AS s USING (schedule, process)
WHERE coalesce(CASE WHEN o.writes THEN s.write_ns ELSE s.any_ns END > o.completed_ns, true)
UNION ALL
SELECT []::BIGINT[], process, NULL, NULL, statements, 'unknown process'
FROM seen ANTI JOIN known USING (schedule, process)
