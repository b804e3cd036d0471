-- The words invariants are written in: views over the four tables of a history (harness/history.py) and the one-row `context`.
--
-- A user's own invariant may use any of them, as well as operations, handles, statements, processes and context themselves.
-- All times are nanoseconds on one monotonic clock. `job` and `token` are JSON text: 7 and "7" are different jobs.
-- Every view has `schedule` first: two rows belong together only if it is the same.

-- Claims of every outcome. An ok one that returned 0 is an empty claim; one that is info may have taken jobs nobody knows of.
CREATE VIEW claims AS
SELECT * EXCLUDE (kind) FROM operations WHERE kind = 'claim';

-- One row for each job an ok claim handed to a worker.
CREATE VIEW handed_out AS
SELECT * EXCLUDE (kind, outcome, priority, accepted) FROM handles WHERE kind = 'claim' AND outcome = 'ok';

-- One row for each job an ok enqueue returned the id of. `priority` is 0 where none was asked for.
CREATE VIEW enqueued AS
SELECT schedule, operation, process, phase, invoked_ns, completed_ns, position, job, coalesce(priority, 0) AS priority
FROM handles WHERE kind = 'enqueue' AND outcome = 'ok';

-- One row for each job a worker asked to complete, whatever came of it.
CREATE VIEW completions AS
SELECT * EXCLUDE (kind, attempt, priority) FROM handles WHERE kind = 'complete';

-- One row for each job that certainly was completed: the system said so and did not refuse it.
CREATE VIEW finished AS
SELECT * EXCLUDE (outcome, accepted) FROM completions WHERE outcome = 'ok' AND accepted;

-- One row for each job that a worker gave back, certainly (ok) or perhaps (info).
CREATE VIEW given_back AS
SELECT * EXCLUDE (kind, attempt, priority, accepted) FROM handles WHERE kind = 'fail' AND outcome <> 'fail' AND accepted;

-- One row for each job whose claim a heartbeat certainly extended.
CREATE VIEW extended AS
SELECT * EXCLUDE (kind, outcome, attempt, priority, accepted) FROM handles
WHERE kind = 'heartbeat' AND outcome = 'ok' AND accepted;

-- The earliest time from which a process may have been dead: it ended, or somebody set out to kill it.
CREATE VIEW deaths AS
SELECT schedule, process, min(died_ns) AS died_ns
FROM (
    SELECT schedule, process, ended_ns AS died_ns FROM processes WHERE ended_ns IS NOT NULL
    UNION ALL
    SELECT schedule, json_extract_string(job, '$'), invoked_ns FROM handles WHERE kind = 'kill' AND outcome <> 'fail'
)
GROUP BY schedule, process;

-- Every job in one row: how often and when anything happened to it. Most invariants look here first, for the few jobs that they
-- need to look at more closely. Counts: `enqueues` and `claims` are ok ones, `completions` accepted ones. `enqueue_operation`,
-- `position` and `priority` are of the enqueue (of the last, where several returned the id), invoked at enqueue_asked_ns and
-- returned at enqueued_ns. `first_used_ns` is when the first operation other than enqueue, fail and heartbeat that named it was
-- invoked; `last_ended_ns` when the last complete or fail that may have happened returned (the end of time, if it did not).
CREATE VIEW jobs AS
SELECT
    schedule, job,
    count(*) FILTER (kind = 'enqueue' AND outcome = 'ok') AS enqueues,
    count(*) FILTER (kind = 'claim' AND outcome = 'ok') AS claims,
    count(*) FILTER (kind = 'complete' AND outcome = 'ok' AND accepted) AS completions,
    count(*) FILTER (kind = 'fail' AND outcome = 'ok' AND accepted) AS given_back,
    max(operation) FILTER (kind = 'enqueue' AND outcome = 'ok') AS enqueue_operation,
    max(position) FILTER (kind = 'enqueue' AND outcome = 'ok') AS position,
    coalesce(max(priority) FILTER (kind = 'enqueue' AND outcome = 'ok'), 0) AS priority,
    max(invoked_ns) FILTER (kind = 'enqueue' AND outcome = 'ok') AS enqueue_asked_ns,
    max(completed_ns) FILTER (kind = 'enqueue' AND outcome = 'ok') AS enqueued_ns,
    min(invoked_ns) FILTER (kind NOT IN ('enqueue', 'fail', 'heartbeat') AND (kind <> 'claim' OR outcome = 'ok')) AS first_used_ns,
    min(completed_ns) FILTER (kind = 'claim' AND outcome = 'ok') AS first_claimed_ns,
    max(completed_ns) FILTER (kind = 'claim' AND outcome = 'ok') AS last_claimed_ns,
    max(attempt) FILTER (kind = 'claim' AND outcome = 'ok') AS last_attempt,
    max(coalesce(completed_ns, 9223372036854775807))
        FILTER (kind IN ('complete', 'fail') AND outcome <> 'fail' AND accepted) AS last_ended_ns
FROM handles
WHERE kind <> 'kill'
GROUP BY schedule, job;

-- Ids that more than one ok enqueue returned: nobody can tell which of the jobs a later row is about.
CREATE VIEW reused AS
SELECT schedule, job FROM jobs WHERE enqueues > 1;

-- When a job was certainly free to be claimed: after start_ns and before until_ns (the end of time: never claimed again).
-- It starts when the enqueue (cause 'enqueue') or an accepted fail (cause 'fail') had returned; it ends when any claim or other
-- operation that named the job was invoked, or an unknown (info) claim, as that may have taken it. A job given back is free only
-- if a later claim got it, as it may be dead after its attempts. Times of no length are left out.
CREATE VIEW free_jobs AS
WITH plain AS (
    SELECT
        schedule, job, enqueue_operation AS operation, position, priority, 'enqueue' AS cause,
        enqueue_asked_ns AS caused_ns, enqueued_ns AS start_ns, first_used_ns AS used_ns
    FROM jobs WHERE enqueues = 1 AND given_back = 0 AND coalesce(first_used_ns, enqueue_asked_ns) >= enqueue_asked_ns
), crowded AS (  -- all others: jobs that may have been free more than once, or were used before they were enqueued
    SELECT schedule, job FROM jobs WHERE enqueues > 1 OR given_back > 0 OR first_used_ns < enqueue_asked_ns
), starts AS (
    SELECT schedule, job, operation, position, priority, 'enqueue' AS cause, invoked_ns, completed_ns
    FROM enqueued SEMI JOIN crowded USING (schedule, job)
    UNION ALL
    SELECT schedule, job, operation, position, 0, 'fail', invoked_ns, completed_ns
    FROM handles SEMI JOIN crowded USING (schedule, job)
    WHERE kind = 'fail' AND outcome = 'ok' AND accepted
), uses AS (
    SELECT schedule, job, kind, invoked_ns, coalesce(completed_ns, 9223372036854775807) AS completed_ns
    FROM handles SEMI JOIN crowded USING (schedule, job)
    WHERE kind NOT IN ('enqueue', 'heartbeat', 'fail') AND (kind <> 'claim' OR outcome = 'ok')
), entangled AS (
    SELECT s.*, min(u.invoked_ns) AS used_ns
    FROM starts AS s
    LEFT JOIN uses AS u ON u.schedule = s.schedule AND u.job = s.job AND u.completed_ns >= s.invoked_ns
    GROUP BY ALL
    HAVING cause = 'enqueue' OR count(*) FILTER (u.kind = 'claim') > 0
), unknown AS (  -- for each time a claim of unknown outcome ended: the first to be invoked of those that ended then or later
    SELECT schedule, completed_ns, min(invoked_ns) OVER (PARTITION BY schedule ORDER BY completed_ns DESC) AS invoked_ns
    FROM (SELECT schedule, invoked_ns, coalesce(completed_ns, 9223372036854775807) AS completed_ns FROM claims WHERE outcome = 'info')
), thefts AS (  -- for each start that an unknown claim follows: when that was invoked
    SELECT f.schedule, f.start_ns, u.invoked_ns AS unknown_ns
    FROM (SELECT schedule, enqueued_ns AS start_ns FROM jobs WHERE enqueues > 0 UNION SELECT schedule, completed_ns FROM starts) AS f
    ASOF JOIN unknown AS u ON f.schedule = u.schedule AND f.start_ns <= u.completed_ns
)
SELECT
    f.schedule, f.job, f.operation, f.position, f.priority, f.cause, f.caused_ns, f.start_ns,
    coalesce(least(f.used_ns, t.unknown_ns), 9223372036854775807) AS until_ns
FROM (FROM plain UNION ALL FROM entangled) AS f
LEFT JOIN thefts AS t USING (schedule, start_ns)
WHERE coalesce(least(f.used_ns, t.unknown_ns), 9223372036854775807) > f.start_ns;

-- For each claim that failed or ended unknown: until when the trouble it and those invoked before it made may have lasted.
CREATE VIEW trouble AS
SELECT schedule, invoked_ns, max(coalesce(completed_ns, 9223372036854775807)) OVER (PARTITION BY schedule ORDER BY invoked_ns) AS until_ns
FROM claims WHERE outcome <> 'ok';

-- Ok claims during which no claim of any process failed or ended unknown. A claim rolled back at the same time may have held a
-- job's lock, so that another rightly passed it over.
CREATE VIEW undisturbed_claims AS
SELECT c.*
FROM claims AS c ASOF LEFT JOIN trouble AS t ON c.schedule = t.schedule AND c.completed_ns >= t.invoked_ns
WHERE c.outcome = 'ok' AND (t.until_ns IS NULL OR t.until_ns < c.invoked_ns);

-- What a system or a run may lack that an invariant requires: `offered` is null where the history cannot tell.
CREATE VIEW requirements AS
SELECT 'exclusive-claims' AS word, semantics <> 'at-least-once' AS offered,
    'the system promises at-least-once delivery, so it may hand a job out again at any time' AS otherwise FROM context
UNION ALL
SELECT 'ordered', ordered, 'the system promises no order (ordered = True is missing)' FROM context
UNION ALL
SELECT 'lease', lease_ns IS NOT NULL, 'the system has no leases (lease_seconds is missing)' FROM context
UNION ALL
SELECT 'witness', witness <> 'none', 'the run had no witness' FROM context
UNION ALL
SELECT 'no-faults', NOT faults, 'faults were planned, and errors are what they cause' FROM context
UNION ALL
SELECT 'tokens', bool_or(token IS NOT NULL), 'the system hands out no tokens' FROM handed_out
UNION ALL
SELECT 'attempts', bool_or(attempt IS NOT NULL), 'the system does not number its attempts' FROM handed_out
UNION ALL
SELECT word, list_contains(capabilities, word), 'the system has no `' || word || '`'
FROM context, (SELECT unnest(['complete', 'fail', 'heartbeat', 'recover', 'work']) AS word);
