-- A history of getvariable('jobs') jobs, each enqueued (1,000 at once), claimed alone and completed by one of 8 workers.
-- Worker i % 8 claims job i 1,000 ns after the one before and takes 6,000 ns, so that claims of different workers overlap, then completes it.
-- With getvariable('defects') every 50th job is handed out a second time, every 1,000th claim is followed by an empty one while jobs
-- are waiting, and every 997th id is that of another job.

CREATE VIEW jobs AS
SELECT
    i, i % 8 AS worker, 10000000000 + 1000 * i AS claim_ns,
    -- enqueued in order of priority, so that the order of claims is right
    9 - i * 10 // getvariable('jobs') AS priority,
    CASE WHEN getvariable('defects') AND i % 997 = 0 THEN i + 500 ELSE i END AS job
FROM range(getvariable('jobs')) AS r(i);

CREATE TABLE operations AS
SELECT row_number() OVER (ORDER BY invoked_ns) AS operation, * FROM (
    SELECT 'setup' AS process, 'enqueue' AS kind, 'setup' AS phase, 1000 * n AS invoked_ns, 1000 * n + 900 AS completed_ns,
        1000 AS requested, 1000 AS returned, n AS i
    FROM range(getvariable('jobs') // 1000) AS r(n)
    UNION ALL
    SELECT 'w' || worker, 'claim', 'main', claim_ns, claim_ns + 6000, 1, 1, i FROM jobs
    UNION ALL
    SELECT 'w' || worker, 'complete', 'main', claim_ns + 6500, claim_ns + 7500, 1, 1, i FROM jobs
    UNION ALL
    SELECT 'w' || worker, 'claim', 'main', claim_ns + 7600, claim_ns + 7700, 1, 0, i
    FROM jobs WHERE getvariable('defects') AND i % 1000 = 0
    UNION ALL
    SELECT 'w' || (worker + 1) % 8, 'claim', 'main', claim_ns + 7600, claim_ns + 7900, 1, 1, i
    FROM jobs WHERE getvariable('defects') AND i % 50 = 0
    UNION ALL
    SELECT 'quiet', 'claim', 'quiet', drained_ns, drained_ns + 100, 1, 0, 0
    FROM (SELECT max(claim_ns) + 1000000 AS drained_ns FROM jobs)
    UNION ALL
    SELECT 'w0', 'round', 'main', 10000000000, 10000010000, 1, 1, 0
    UNION ALL
    SELECT 'w0', 'round', 'main', 10000800000, 10000890000, 10, 10, 0
    UNION ALL
    SELECT 'w0', 'open', 'setup', 1, 2, 1, 0, 0
);
ALTER TABLE operations ADD COLUMN schedule INTEGER DEFAULT 0;
ALTER TABLE operations ADD COLUMN outcome VARCHAR DEFAULT 'ok';
ALTER TABLE operations ADD COLUMN error_kind VARCHAR;
ALTER TABLE operations ADD COLUMN error_class VARCHAR;
ALTER TABLE operations ADD COLUMN error_code VARCHAR;
ALTER TABLE operations ADD COLUMN error_message VARCHAR;
ALTER TABLE operations ADD COLUMN value VARCHAR;

CREATE VIEW handles AS
SELECT
    o.schedule, o.operation, o.process, o.kind, o.phase, o.invoked_ns, o.completed_ns, o.outcome,
    p.position, j.job::VARCHAR AS job,
    CASE WHEN o.kind <> 'enqueue' THEN '1' END AS token,
    CASE WHEN o.kind = 'claim' THEN 1 END AS attempt,
    CASE WHEN o.kind = 'enqueue' THEN j.priority END AS priority, true AS accepted
FROM operations AS o
JOIN (FROM range(1000) AS r(position)) AS p ON p.position < o.returned
JOIN jobs AS j ON j.i = CASE WHEN o.kind = 'enqueue' THEN 1000 * o.i + p.position ELSE o.i END
WHERE o.kind IN ('enqueue', 'claim', 'complete')
ORDER BY operation, position;

CREATE VIEW statements AS
SELECT
    0 AS schedule, process, 1 AS connection, invoked_ns + 10 + 20 * n AS started_ns, invoked_ns + 20 + 20 * n AS ended_ns,
    CASE WHEN n = 0 AND kind = 'claim' THEN 'read' ELSE 'write' END AS kind,
    'UPDATE jobs SET status = ? WHERE id = ?' AS shape, 0 AS trips, true AS commits,
    NULL AS error_kind, NULL AS error_code, operation
FROM operations, range(2) AS r(n)
WHERE kind IN ('enqueue', 'claim', 'complete')
ORDER BY operation;

CREATE VIEW processes AS
SELECT 0 AS schedule, process, CASE WHEN process LIKE 'w%' THEN 'worker' ELSE process END AS role,
    1 AS pid, 0 AS started_ns, 9000000000000 AS ended_ns, 'done' AS ended
FROM (SELECT DISTINCT process FROM operations);

-- No pool was watched.
CREATE VIEW acquisitions AS
SELECT NULL AS schedule, NULL AS process, NULL AS pool, NULL AS size, NULL AS asked_ns, NULL AS got_ns, NULL AS returned_ns, NULL AS ended_ns, NULL AS error_kind
WHERE false;
