-- Turns the event and statement files of one run into the five tables of harness/history.py.
--
-- In:  sources(filename, process, statements)   every NDJSON file to read; `statements` tells the witness's files from the events
--      variables event_files, statement_files and pool_files   the names, for the readers
-- Out: operations, handles, statements, processes, acquisitions   columns and types exactly as in harness/history.py
--      damage(what)   a row for each rule of harness/history.py that a line breaks; the tables mean something only where it is empty

CREATE TABLE events AS
SELECT
    s.process, coalesce(l.schedule, 0) AS schedule, l.e, l.op, l.t, l.kind, l.phase, l.requested, l.returned,
    l.jobs, l.tokens, l.attempts, l.priorities, l.accepted, l.error, l.value, l.role, l.pid, l.how,
    l.process AS named
FROM read_ndjson(getvariable('event_files'), filename = true, maximum_object_size = 33554432, columns = {
    'e': 'VARCHAR', 'schedule': 'INTEGER', 'op': 'BIGINT', 't': 'BIGINT', 'kind': 'VARCHAR', 'phase': 'VARCHAR',
    'requested': 'BIGINT', 'returned': 'BIGINT', 'jobs': 'JSON[]', 'tokens': 'JSON[]', 'attempts': 'BIGINT[]',
    'priorities': 'BIGINT[]', 'accepted': 'BIGINT[]', 'value': 'JSON',
    'error': 'STRUCT(kind VARCHAR, "class" VARCHAR, code VARCHAR, message VARCHAR)',
    'process': 'VARCHAR', 'role': 'VARCHAR', 'pid': 'BIGINT', 'how': 'VARCHAR'
}) AS l
JOIN sources AS s USING (filename);

-- One row an operation, numbered in order of invocation. The answer's list of jobs counts where it has one (claim, enqueue);
-- else the list the operation was asked with (complete, fail, heartbeat).
CREATE TABLE merged AS
WITH answers AS (SELECT * FROM events WHERE e IN ('ok', 'fail', 'info'))
SELECT
    row_number() OVER (ORDER BY i.t, i.schedule, i.process, i.op) AS operation,
    i.schedule, i.process, i.kind, i.phase, i.t AS invoked_ns, a.t AS completed_ns,
    coalesce(a.e, 'info') AS outcome,
    coalesce(i.requested, len(i.jobs), len(i.priorities)) AS requested,
    CASE WHEN a.e = 'ok' THEN coalesce(a.returned, len(a.jobs), len(a.accepted), len(i.jobs), 0) END AS returned,
    a.error, coalesce(a.value, i.value) AS value,
    CASE WHEN a.jobs IS NULL THEN i.jobs ELSE a.jobs END AS jobs,
    CASE WHEN a.jobs IS NULL THEN i.tokens ELSE a.tokens END AS tokens,
    a.attempts, i.priorities,
    CASE WHEN a.e = 'ok' THEN a.accepted END AS accepted
FROM (SELECT * FROM events WHERE e = 'invoke') AS i
LEFT JOIN answers AS a USING (process, schedule, op);

CREATE TABLE witnessed AS
SELECT
    coalesce(schedule, 0) AS schedule, process, connection, t0 AS started_ns, t1 AS ended_ns, kind, shape, trips, commits, error
FROM read_ndjson(getvariable('statement_files'), maximum_object_size = 33554432, columns = {
    'schedule': 'INTEGER', 'process': 'VARCHAR', 'connection': 'BIGINT', 't0': 'BIGINT', 't1': 'BIGINT', 'kind': 'VARCHAR',
    'shape': 'VARCHAR', 'trips': 'INTEGER', 'commits': 'BOOLEAN', 'error': 'STRUCT(kind VARCHAR, code VARCHAR)'
});

-- A `round` or `scan` encloses other operations and owns no statement itself.
CREATE TABLE statements AS
SELECT
    w.schedule, w.process, w.connection, w.started_ns, w.ended_ns, w.kind, w.shape,
    coalesce(w.trips, 0) AS trips, coalesce(w.commits, false) AS commits,
    w.error.kind AS error_kind, w.error.code AS error_code,
    CASE WHEN m.completed_ns IS NULL OR w.started_ns <= m.completed_ns THEN m.operation END AS operation
FROM witnessed AS w
ASOF LEFT JOIN (
    SELECT operation, schedule, process, invoked_ns, completed_ns FROM merged WHERE kind NOT IN ('round', 'scan')
) AS m ON w.schedule = m.schedule AND w.process = m.process AND w.started_ns >= m.invoked_ns;

-- The rule of harness/outcome.py: a `fail` inside which a write was committed did happen, at least in part. A write is committed
-- by itself, or by the next end of a transaction on its connection; a COMMIT whose connection was lost may have committed.
CREATE TABLE not_failed AS
WITH inside AS (
    SELECT s.* FROM statements AS s JOIN merged AS m USING (operation) WHERE m.outcome = 'fail'
), ended AS (
    SELECT *, first_value(CASE
        WHEN commits AND error_kind IS NULL THEN true
        WHEN kind = 'commit' AND error_kind IN ('connection', 'timeout') THEN true
        WHEN kind IN ('commit', 'rollback') AND error_kind IS NULL THEN false
    END IGNORE NULLS) OVER (
        PARTITION BY operation, connection ORDER BY ended_ns, started_ns ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    ) AS committed
    FROM inside
)
SELECT DISTINCT operation FROM ended WHERE kind = 'write' AND error_kind IS NULL AND committed;

CREATE VIEW judged AS
SELECT m.* REPLACE (CASE WHEN n.operation IS NULL THEN m.outcome ELSE 'info' END AS outcome)
FROM merged AS m LEFT JOIN not_failed AS n USING (operation);

CREATE VIEW operations AS
SELECT
    schedule, operation, process, kind, phase, invoked_ns, completed_ns, outcome, requested, returned,
    error.kind AS error_kind, error."class" AS error_class, error.code AS error_code, error.message AS error_message,
    value::VARCHAR AS value
FROM judged
ORDER BY operation;

CREATE VIEW handles AS
SELECT
    schedule, operation, process, kind, phase, invoked_ns, completed_ns, outcome, position,
    jobs[position + 1]::VARCHAR AS job, tokens[position + 1]::VARCHAR AS token,
    attempts[position + 1] AS attempt, priorities[position + 1] AS priority,
    accepted IS NULL OR list_contains(accepted, position) AS accepted
FROM (SELECT *, unnest(range(len(jobs))) AS position FROM judged)
ORDER BY operation, position;

CREATE VIEW processes AS
SELECT p.schedule, p.process, p.role, p.pid, p.t AS started_ns, e.t AS ended_ns, e.how AS ended
FROM (SELECT * FROM events WHERE e = 'process') AS p
LEFT JOIN (SELECT * FROM events WHERE e = 'end') AS e USING (process, schedule)
ORDER BY p.schedule, p.process;

CREATE TABLE lent AS
SELECT *
FROM read_ndjson(getvariable('pool_files'), maximum_object_size = 33554432, columns = {
    'schedule': 'INTEGER', 'process': 'VARCHAR', 'n': 'BIGINT', 'pool': 'BIGINT', 'size': 'BIGINT', 'asked': 'BIGINT', 'got': 'BIGINT',
    'ended': 'BIGINT', 'error': 'VARCHAR', 'returned': 'BIGINT'
});

CREATE VIEW acquisitions AS
SELECT
    coalesce(a.schedule, 0) AS schedule, a.process, a.pool, a.size, a.asked AS asked_ns, a.got AS got_ns, r.returned AS returned_ns,
    coalesce(a.ended, a.got, a.asked) AS ended_ns, a.error AS error_kind
FROM (FROM lent WHERE returned IS NULL) AS a
LEFT JOIN (FROM lent WHERE returned IS NOT NULL) AS r
    ON r.process = a.process AND r.n = a.n AND coalesce(r.schedule, 0) = coalesce(a.schedule, 0)
ORDER BY a.asked, a.process, a.n;

CREATE VIEW damage AS
SELECT 'a line that is no event' AS what
FROM events
WHERE e IS NULL OR t IS NULL OR e NOT IN ('process', 'invoke', 'ok', 'fail', 'info', 'end')
    OR (e IN ('invoke', 'ok', 'fail', 'info') AND op IS NULL) OR (e = 'invoke' AND kind IS NULL)
    OR (e = 'process' AND named IS DISTINCT FROM process)
UNION ALL
SELECT 'an operation invoked or completed other than once, or completed before it was invoked'
FROM events
WHERE e IN ('invoke', 'ok', 'fail', 'info')
GROUP BY process, schedule, op
HAVING count(*) FILTER (e = 'invoke') <> 1 OR count(*) > 2 OR max(t) FILTER (e <> 'invoke') < max(t) FILTER (e = 'invoke')
UNION ALL
SELECT 'a process that starts or ends more than once'
FROM events
WHERE e IN ('process', 'end')
GROUP BY process, schedule, e
HAVING count(*) > 1
UNION ALL
SELECT 'lists of different lengths'
FROM merged
WHERE (len(tokens) > 0 AND len(tokens) <> coalesce(len(jobs), 0))
    OR (len(attempts) > 0 AND len(attempts) <> coalesce(len(jobs), 0))
    OR (len(priorities) > 0 AND len(jobs) > 0 AND len(priorities) <> len(jobs))
    OR list_max(accepted) >= coalesce(len(jobs), 0) OR list_min(accepted) < 0
    OR list_contains(list_transform(jobs, lambda job: job IS NULL), true)
UNION ALL
SELECT 'a line that is no statement'
FROM witnessed
WHERE process IS NULL OR connection IS NULL OR started_ns IS NULL OR ended_ns IS NULL OR ended_ns < started_ns OR kind IS NULL
    OR kind NOT IN ('connect', 'begin', 'read', 'write', 'commit', 'rollback', 'other')
UNION ALL
SELECT 'a line that is no acquisition'
FROM lent
WHERE process IS NULL OR n IS NULL OR (returned IS NULL AND (asked IS NULL OR (got IS NULL AND error IS NULL)));
