-- Claim: However many are deleted, it takes one transaction that writes, and one connection of the pool; to delete none takes neither.
-- Row: a call that deletes and in which the database committed more than one writing transaction, or a pool gave more than one connection
--   without an error in between that was reason to try again; or one that was given no ids and asked the database or the pool all the same.
-- Severity: violation
-- Needs: statement
-- Requires: witness
-- Undecidable when: there was no call that deletes.
WITH inside AS (  -- with the number of transactions that had ended on the connection before
    SELECT
        s.operation, s.connection, s.kind, s.commits, s.error_kind,
        count(*) FILTER (s.error_kind IS NULL AND (s.commits OR s.kind IN ('commit', 'rollback'))) OVER (
            PARTITION BY s.operation, s.connection ORDER BY s.ended_ns, s.started_ns ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS before
    FROM deletions AS d JOIN statements AS s USING (operation)
), ended AS (
    SELECT
        operation, count(*) AS statements, count(error_kind) AS errors,
        bool_or(kind = 'write' AND error_kind IS NULL) AND bool_or(commits AND error_kind IS NULL) AS written
    FROM inside GROUP BY operation, connection, before
), committed AS (
    SELECT operation, sum(statements) AS statements, sum(errors) AS errors, count(*) FILTER (written) AS transactions
    FROM ended GROUP BY operation
), acquired AS (
    SELECT d.operation, count(*) AS asked, count(a.got_ns) AS acquisitions
    FROM deletions AS d
    JOIN acquisitions AS a ON a.schedule = d.schedule AND a.process = d.process
        AND a.asked_ns >= d.invoked_ns AND a.asked_ns <= d.completed_ns
    GROUP BY d.operation
)
SELECT
    [d.operation] AS operations, d.process, d.kind, d.requested, d.deleted,
    coalesce(c.transactions, 0) AS transactions, coalesce(a.acquisitions, 0) AS acquisitions, NULL AS undecided
FROM deletions AS d LEFT JOIN committed AS c USING (operation) LEFT JOIN acquired AS a USING (operation)
WHERE c.transactions > 1 OR a.acquisitions > 1 + coalesce(c.errors, 0)
    OR (d.requested = 0 AND (c.statements > 0 OR a.asked > 0))
UNION ALL
SELECT []::BIGINT[], NULL, NULL, NULL, NULL, NULL, NULL, 'there was no call that deletes'
FROM context WHERE NOT EXISTS (FROM deletions)
