-- Claim: An operation that says ok did not end on an error of the database.
-- Row: an ok operation in which the last word of the database was a lock, deadlock, serialization or connection error: no later read,
--   write or commit of the same operation succeeded (a rollback, a begin or a reconnect is no success).
-- Severity: violation
-- Needs: statement
-- Requires: witness, asked
-- Undecidable when: the witness saw no statement at all.
WITH errors AS (
    SELECT
        operation, max(ended_ns) AS ended_ns, count(*) AS errors,
        arg_max(struct_pack(kind := error_kind, code := error_code, shape := shape), ended_ns) AS last_error
    FROM statements
    WHERE operation IS NOT NULL AND error_kind IN ('lock', 'deadlock', 'serialization', 'connection')
    GROUP BY operation
), answered AS (
    SELECT DISTINCT s.operation
    FROM statements AS s JOIN errors AS e USING (operation)
    WHERE s.error_kind IS NULL AND s.kind IN ('read', 'write', 'commit') AND s.ended_ns > e.ended_ns
)
SELECT
    [o.operation] AS operations, o.kind, o.process, e.errors,
    e.last_error.kind AS error_kind, e.last_error.code AS error_code, e.last_error.shape AS statement
FROM errors AS e
JOIN operations AS o USING (operation)
ANTI JOIN answered AS a USING (operation)
WHERE o.outcome = 'ok'
