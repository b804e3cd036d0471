-- The words invariants are written in: views over the five tables of a history (harness/history.py) and the one-row `context`.
--
-- A user's own invariant may use any of them, as well as operations, handles, statements, processes and context themselves.
-- All times are nanoseconds on one monotonic clock. `job` and `token` are JSON text: 7 and "7" are different jobs.
-- Every view has `schedule` first: two rows belong together only if it is the same.
-- A process `w0.3` is a thread of `w0`: split_part(process, '.', 1) is the process that statements, acquisitions and deaths are of.

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

-- One row for each job that certainly was completed: the system said so and did not refuse it. What becomes of a job that a system's own
-- loop has done is between that and its database.
CREATE VIEW finished AS
SELECT c.* EXCLUDE (outcome, accepted) FROM completions AS c, context AS x
WHERE outcome = 'ok' AND accepted AND NOT list_contains(x.capabilities, 'work');

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
-- returned at enqueued_ns. `first_used_ns` is when the first ok claim, complete or deletion that named it was invoked;
-- `first_completed_ns` when the first complete that may have happened was, and `last_ended_ns` when the last complete or fail that may
-- have happened returned (the end of time, if it did not).
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
    min(invoked_ns) FILTER (kind = 'complete' AND outcome <> 'fail' AND accepted) AS first_completed_ns,
    max(coalesce(completed_ns, 9223372036854775807))
        FILTER (kind IN ('complete', 'fail') AND outcome <> 'fail' AND accepted) AS last_ended_ns
FROM handles
WHERE kind IN ('enqueue', 'claim', 'complete', 'fail', 'heartbeat') OR (kind = 'delete_many' AND NOT starts_with(job, '{'))
GROUP BY schedule, job;

-- Everything that deletes, whatever came of it. `deleted` is what it said it deleted, in all: null unless it is ok.
CREATE VIEW deletions AS
SELECT
    schedule, operation, process, kind, phase, invoked_ns, coalesce(completed_ns, 9223372036854775807) AS completed_ns, outcome,
    CASE kind WHEN 'delete_many' THEN (value -> '$.deleted')::BIGINT ELSE returned END AS deleted,
    requested, error_kind, error_class, error_message
FROM operations WHERE kind IN ('delete_many', 'clean_by_tag', 'wipe_all');

-- Ids of which nobody can tell what job a later row is about: more than one ok enqueue returned them; or they were handed out again after
-- their job may have been finished and its id given to another, one of a run perhaps (an id that became free may be given again).
CREATE VIEW reused AS
SELECT schedule, job FROM jobs WHERE enqueues > 1
UNION
SELECT j.schedule, j.job
FROM (SELECT * FROM jobs WHERE claims > 1 AND first_completed_ns <= last_claimed_ns) AS j
JOIN operations AS m ON m.schedule = j.schedule AND m.kind IN ('submit_run', 'enqueue') AND m.outcome <> 'fail'
    AND (m.kind = 'submit_run' OR m.outcome = 'info' OR m.operation = j.enqueue_operation)
    AND coalesce(m.completed_ns, 9223372036854775807) >= j.first_completed_ns AND m.invoked_ns <= j.last_claimed_ns;

-- When a job was certainly free to be claimed: after start_ns and before until_ns (the end of time: never claimed again).
-- It starts when the enqueue (cause 'enqueue') or an accepted fail (cause 'fail') had returned; it ends when any ok claim, complete or
-- deletion that named the job was invoked, or an unknown (info) claim or anything else that deletes, as that may have taken it. A job
-- given back is free only if a later claim got it, as it may be dead after its attempts. Times of no length are left out.
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
    WHERE kind IN ('complete', 'delete_many') OR (kind = 'claim' AND outcome = 'ok')
), entangled AS (
    SELECT s.*, min(u.invoked_ns) AS used_ns
    FROM starts AS s
    LEFT JOIN uses AS u ON u.schedule = s.schedule AND u.job = s.job AND u.completed_ns >= s.invoked_ns
    GROUP BY ALL
    HAVING cause = 'enqueue' OR count(*) FILTER (u.kind = 'claim') > 0
), unknown AS (  -- for each time an unknown claim or a deletion ended: the first to be invoked of those that ended then or later
    SELECT schedule, completed_ns, min(invoked_ns) OVER (PARTITION BY schedule ORDER BY completed_ns DESC) AS invoked_ns
    FROM (
        SELECT schedule, invoked_ns, coalesce(completed_ns, 9223372036854775807) AS completed_ns FROM claims WHERE outcome = 'info'
        UNION ALL
        SELECT schedule, invoked_ns, completed_ns FROM deletions WHERE outcome <> 'fail'
    )
), thefts AS (  -- for each time a job was about to be free, if such a one followed: when that was invoked
    SELECT f.schedule, f.caused_ns, u.invoked_ns AS unknown_ns
    FROM (SELECT schedule, enqueue_asked_ns AS caused_ns FROM jobs WHERE enqueues > 0 UNION SELECT schedule, invoked_ns FROM starts) AS f
    ASOF JOIN unknown AS u ON f.schedule = u.schedule AND f.caused_ns <= u.completed_ns
)
SELECT
    f.schedule, f.job, f.operation, f.position, f.priority, f.cause, f.caused_ns, f.start_ns,
    coalesce(least(f.used_ns, t.unknown_ns), 9223372036854775807) AS until_ns
FROM (FROM plain UNION ALL FROM entangled) AS f
LEFT JOIN thefts AS t USING (schedule, caused_ns)
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

-- The work on one job, from its claim's return to shortly before its end; `worker` is the process, of which `process` may be a thread.
CREATE VIEW scans AS
SELECT
    schedule, operation, process, split_part(process, '.', 1) AS worker, job, invoked_ns,
    coalesce(completed_ns, 9223372036854775807) AS completed_ns
FROM handles WHERE kind = 'scan';

-- What a worker certainly told of a job's progress, and had told by completed_ns.
CREATE VIEW reports AS
SELECT h.schedule, h.operation, h.process, split_part(h.process, '.', 1) AS worker, h.job, h.invoked_ns, h.completed_ns,
    o.value::DOUBLE AS fraction
FROM handles AS h JOIN operations AS o USING (operation)
WHERE h.kind = 'report_progress' AND h.outcome = 'ok';

-- When a job that was handed out was certainly in a worker's hands: from the claim's return until the worker set out to complete it or give
-- it back, somebody else may have done so, somebody else asked for what was to be the job, its lease could have run out, or the worker may
-- have been dead (the end of time: none of these). What certainly did not happen ends nothing. `ended` is the operation by which the worker
-- ended it, if one was, invoked at ended_ns. From free_ns on, a claim of unknown outcome may have taken the job: never, once it is finished.
CREATE VIEW holds AS
WITH ends AS (
    SELECT
        schedule, job, operation, min(invoked_ns) AS until_ns,
        min(invoked_ns) FILTER (own) AS ended_ns, min(ending) FILTER (own) AS ended, arg_min(finished, ending) FILTER (own) AS finished
    FROM (
        SELECT
            c.schedule, c.job, c.operation, e.operation AS ending, e.invoked_ns, e.accepted,
            split_part(e.process, '.', 1) = split_part(c.process, '.', 1) AND e.invoked_ns >= c.completed_ns AS own,
            e.kind = 'complete' AND e.outcome = 'ok' AND e.accepted AS finished
        FROM handed_out AS c
        JOIN handles AS e ON e.schedule = c.schedule AND e.job = c.job AND e.kind IN ('complete', 'fail') AND e.outcome <> 'fail'
            AND coalesce(e.completed_ns, 9223372036854775807) >= c.invoked_ns
    )
    WHERE own OR accepted
    GROUP BY schedule, job, operation
), taken AS (
    SELECT c.schedule, c.job, c.operation, min(l.invoked_ns) AS until_ns
    FROM handed_out AS c
    JOIN handed_out AS l ON l.schedule = c.schedule AND l.job = c.job AND l.operation <> c.operation AND l.completed_ns >= c.completed_ns
    GROUP BY ALL
), held AS (
    SELECT
        c.schedule, c.job, c.operation, c.process, c.invoked_ns AS asked_ns, c.completed_ns AS from_ns, e.ended, e.ended_ns, e.finished,
        coalesce(least(e.until_ns, t.until_ns, c.invoked_ns + x.lease_ns, d.died_ns), 9223372036854775807) AS until_ns
    FROM (SELECT DISTINCT schedule, job, operation, process, invoked_ns, completed_ns FROM handed_out) AS c
    CROSS JOIN context AS x
    LEFT JOIN ends AS e USING (schedule, job, operation)
    LEFT JOIN taken AS t USING (schedule, job, operation)
    LEFT JOIN deaths AS d ON d.schedule = c.schedule AND d.process = split_part(c.process, '.', 1)
)
SELECT * EXCLUDE (finished), CASE WHEN finished AND until_ns = ended_ns THEN 9223372036854775807 ELSE until_ns END AS free_ns FROM held;

-- What a screen read of a job's progress; `fraction` is null where nothing had been reported. `attempt` counts the claims of the job that
-- may have handed it out before the read was over, the last of which returned at claimed_ns. Left out is what may be of either of two
-- attempts: a read during which the job may have been claimed, or before which a claim of unknown outcome may have taken it; and a read
-- that shows nothing when the job may have been deleted.
CREATE VIEW readings AS
WITH readings_of_all AS (
    SELECT h.schedule, h.operation, h.process, h.job, h.phase, h.invoked_ns, h.completed_ns, o.value::DOUBLE AS fraction
    FROM handles AS h JOIN operations AS o USING (operation)
    WHERE h.kind = 'read_progress' AND h.outcome = 'ok'
), counted AS (
    SELECT r.*, count(DISTINCT c.operation) AS attempt, max(c.completed_ns) AS claimed_ns
    FROM readings_of_all AS r
    LEFT JOIN handed_out AS c ON c.schedule = r.schedule AND c.job = r.job AND c.invoked_ns <= r.completed_ns
    GROUP BY ALL
    HAVING coalesce(max(c.completed_ns) < r.invoked_ns, true)
), torn AS (
    SELECT DISTINCT r.operation
    FROM counted AS r
    JOIN holds AS h ON h.schedule = r.schedule AND h.job = r.job AND h.from_ns = r.claimed_ns
    JOIN claims AS u ON u.schedule = r.schedule AND u.outcome = 'info' AND u.invoked_ns <= r.completed_ns
        AND coalesce(u.completed_ns, 9223372036854775807) >= h.free_ns
), cleared AS (
    SELECT schedule, min(invoked_ns) AS since_ns FROM deletions WHERE outcome <> 'fail' GROUP BY schedule
)
SELECT r.*
FROM counted AS r ANTI JOIN torn USING (operation) LEFT JOIN cleared AS d USING (schedule)
WHERE r.fraction IS NOT NULL OR d.since_ns IS NULL OR d.since_ns > r.completed_ns;

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
SELECT 'interval', flush_interval_ns IS NOT NULL, 'the run had no flush_interval, so nobody said how soon a change must show' FROM context
UNION ALL
SELECT 'no-limit', most_running IS NULL, 'no more than ' || most_running || ' jobs may be running at once, so a claim may rightly be empty'
FROM context
UNION ALL
SELECT 'held-jobs', semantics <> 'at-most-once', 'the system promises at-most-once delivery, so a job may be gone once it is handed out'
FROM context
UNION ALL
SELECT 'no-faults', NOT faults, 'faults were planned, and errors are what they cause' FROM context
UNION ALL
SELECT 'tokens', bool_or(token IS NOT NULL), 'the system hands out no tokens' FROM handed_out
UNION ALL
SELECT 'attempts', bool_or(attempt IS NOT NULL), 'the system does not number its attempts' FROM handed_out
UNION ALL
SELECT 'complete', list_has_any(capabilities, ['complete', 'work']), 'the system has no `complete`' FROM context
UNION ALL
SELECT 'asked', NOT list_contains(capabilities, 'work'), 'the system''s own loop asks for jobs, and nobody hears what it is answered'
FROM context
UNION ALL
SELECT word, list_contains(capabilities, word), 'the system has no `' || word || '`'
FROM context, (SELECT unnest(['fail', 'heartbeat', 'recover', 'work']) AS word);
