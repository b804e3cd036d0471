-- The reference queue on Postgres (9.5 or later, for SKIP LOCKED), at READ COMMITTED. One statement to a name; the comments
-- are not sent. Lists travel as one JSON or array parameter: constant statements, and far from the protocol's 65,535 parameters.

-- name: create_runs
-- Runs: jobs that were submitted together.
CREATE TABLE runs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tag text NOT NULL
)

-- name: create_jobs
-- The jobs. `token` counts claims and never goes back: (id, token) is one claim and no other. `attempt` counts executions begun.
-- `progress` is of the last claim, null until its first report. `due_at`, by the server's own clock, is when the sweep is to look at a
-- job: when the lease of a running one ends, or the pause of a waiting one, which failed and is to be tried again. A dead one has had all
-- its attempts; `reason` says what became of the last. A run does not go without its jobs: here the database only refuses,
-- as a cascade would delete a job that began to run a moment ago.
CREATE TABLE jobs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  payload text NOT NULL,
  priority integer NOT NULL,
  tag text,
  run bigint REFERENCES runs (id),
  status text NOT NULL DEFAULT 'ready' CHECK (status IN ('ready', 'running', 'waiting', 'done', 'dead')),
  worker text,
  token bigint NOT NULL DEFAULT 0,
  attempt integer NOT NULL DEFAULT 0,
  due_at timestamptz,
  reason text,
  progress double precision CHECK (progress BETWEEN 0 AND 1)
)

-- name: create_jobs_of_run
-- A run's jobs, for those who delete or read a run.
CREATE INDEX jobs_of_run ON jobs (run) WHERE run IS NOT NULL

-- name: create_actions
-- What a job did or is to do; a job goes with its actions.
CREATE TABLE actions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job bigint NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  name text NOT NULL
)

-- name: create_actions_of_job
-- A job's actions, for those who delete a job.
CREATE INDEX actions_of_job ON actions (job)

-- name: create_identity
-- A name of this queue's own, one row: two queues may share one Redis, and their jobs have the same ids.
CREATE TABLE identity AS SELECT gen_random_uuid()::text AS id

-- name: create_deletable
-- What a clean-up may delete: a run's jobs while none of them is running, under the run's tag; any other job that is not running.
CREATE VIEW deletable AS
SELECT jobs.id, coalesce(runs.tag, jobs.tag) AS tag
FROM jobs
LEFT JOIN runs ON runs.id = jobs.run
WHERE jobs.status <> 'running'
  AND NOT EXISTS (SELECT FROM jobs AS sibling WHERE sibling.run = jobs.run AND sibling.status = 'running')

-- name: create_jobs_ready
-- The order of claims: larger priority first, then age. Partial, so that finished jobs do not slow a claim.
CREATE INDEX jobs_ready ON jobs (priority DESC, id) WHERE status = 'ready'

-- name: create_jobs_pending
-- What the sweep has to look at. Not by due_at, so that a heartbeat changes no index.
CREATE INDEX jobs_pending ON jobs (id) WHERE status IN ('running', 'waiting')

-- name: enqueue
-- Add every job of a JSON array; their ids ascend in the order of the array (RETURNING itself keeps no order).
INSERT INTO jobs (payload, priority, tag, run)
SELECT payload, priority, tag, run
FROM ROWS FROM (json_to_recordset(%(jobs)s::json) AS (payload text, priority integer, tag text, run bigint))
  WITH ORDINALITY AS job (payload, priority, tag, run, position)
ORDER BY position
RETURNING id

-- name: select_ready
-- The best ready jobs, as of now: without a lock, another transaction may take them the moment this ends.
SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint

-- name: lock_ready
-- The best ready jobs, locked. Waits for whoever holds one, then checks it again and goes on to the next.
SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint FOR UPDATE

-- name: lock_ready_skipping
-- The best ready jobs that nobody holds, locked; never waits.
SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint FOR UPDATE SKIP LOCKED

-- name: take_by_id
-- WRONG without a lock: marks one job as running whatever it has become since it was read.
UPDATE jobs SET
  status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1,
  due_at = clock_timestamp() + %(lease)s::interval, progress = NULL
WHERE id = %(job)s::bigint
RETURNING priority, id, token, attempt

-- name: take_batch
-- Marks every job of an array of ids as running: the one UPDATE of a batch claim, for use under a lock.
UPDATE jobs SET
  status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1,
  due_at = clock_timestamp() + %(lease)s::interval, progress = NULL
WHERE id = ANY (%(jobs)s::bigint[])
RETURNING priority, id, token, attempt

-- name: take_scalar_subquery
-- WRONG: the guard stands only inside the sub-select, which is read once and locks nothing. Who had to wait for a row is
-- given it anyway, as READ COMMITTED checks only the outer WHERE again. The batch form of `WHERE id = (SELECT … LIMIT 1)`.
UPDATE jobs SET
  status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1,
  due_at = clock_timestamp() + %(lease)s::interval, progress = NULL
WHERE id = ANY (ARRAY(
  SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint
))
RETURNING priority, id, token, attempt

-- name: take_in_subquery
-- WRONG: the planner may run the sub-select once for each row of `jobs` (a nested loop, chosen where it believes the table
-- to be tiny), and each run locks and adds LIMIT further jobs.
UPDATE jobs SET
  status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1,
  due_at = clock_timestamp() + %(lease)s::interval, progress = NULL
WHERE id IN (
  SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint FOR UPDATE SKIP LOCKED
)
RETURNING priority, id, token, attempt

-- name: take_skipping
-- The whole claim in one statement. The common table expression is run exactly once, so LIMIT holds.
WITH candidate AS (
  SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET
  status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1,
  due_at = clock_timestamp() + %(lease)s::interval, progress = NULL
FROM candidate
WHERE jobs.id = candidate.id
RETURNING jobs.priority, jobs.id, jobs.token, jobs.attempt

-- name: complete
-- Finish the claims of a JSON array of [job, token]; a claim that is no longer the job's last one is left out. Locked first, in
-- the order claims lock in: a claim that waited for a job that was taken holds its lock for a moment though it goes on without
-- the job, so that in any other order the two could wait for each other in a circle.
WITH held AS (
  SELECT jobs.id
  FROM jobs
  JOIN json_array_elements(%(handles)s::json) AS handle (pair)
    ON jobs.id = (handle.pair ->> 0)::bigint AND jobs.token = (handle.pair ->> 1)::bigint
  WHERE jobs.status = 'running'
  ORDER BY jobs.priority DESC, jobs.id
  FOR UPDATE OF jobs
)
UPDATE jobs SET status = 'done', due_at = NULL
FROM held
WHERE jobs.id = held.id
RETURNING jobs.id, jobs.token

-- name: fail
-- Give the jobs of a JSON array of [job, token] back; fenced and locked as `complete` is. One that has had all its attempts is dead;
-- another is ready at once where the pause after a first attempt is 0 seconds, else it waits: twice as long after each attempt, up to an
-- hour, and by chance up to half of it less, so that what failed together is not tried again together.
WITH held AS (
  SELECT jobs.id
  FROM jobs
  JOIN json_array_elements(%(handles)s::json) AS handle (pair)
    ON jobs.id = (handle.pair ->> 0)::bigint AND jobs.token = (handle.pair ->> 1)::bigint
  WHERE jobs.status = 'running'
  ORDER BY jobs.priority DESC, jobs.id
  FOR UPDATE OF jobs
)
UPDATE jobs SET
  status = CASE WHEN attempt >= %(most)s::integer THEN 'dead' WHEN %(pause)s::double precision = 0 THEN 'ready' ELSE 'waiting' END,
  reason = format('failed in attempt %%s of at most %%s', attempt, %(most)s::integer),
  due_at = CASE
    WHEN attempt < %(most)s::integer AND %(pause)s::double precision > 0
    THEN clock_timestamp() + make_interval(
      secs => least(%(pause)s::double precision * power(2, least(attempt - 1, 30)), 3600) * (1 + random()) / 2
    )
  END,
  worker = NULL
FROM held
WHERE jobs.id = held.id
RETURNING jobs.id, jobs.token

-- name: heartbeat
-- Extend the leases of the claims of a JSON array of [job, token]; fenced and locked as `complete` is. Never shortens one.
WITH held AS (
  SELECT jobs.id
  FROM jobs
  JOIN json_array_elements(%(handles)s::json) AS handle (pair)
    ON jobs.id = (handle.pair ->> 0)::bigint AND jobs.token = (handle.pair ->> 1)::bigint
  WHERE jobs.status = 'running'
  ORDER BY jobs.priority DESC, jobs.id
  FOR UPDATE OF jobs
)
UPDATE jobs SET due_at = greatest(jobs.due_at, clock_timestamp() + %(lease)s::interval)
FROM held
WHERE jobs.id = held.id
RETURNING jobs.id, jobs.token

-- name: sweep
-- Make what is due ready again, or dead where it was running and has had all its attempts: every job, or one. A job that somebody has
-- locked is being finished or renewed at this moment, and left to the next sweep.
WITH due AS (
  SELECT id, status
  FROM jobs
  WHERE status IN ('running', 'waiting') AND due_at <= now() AND (%(job)s::bigint IS NULL OR id = %(job)s::bigint)
  ORDER BY priority DESC, id
  FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET
  status = CASE WHEN due.status = 'running' AND attempt >= %(most)s::integer THEN 'dead' ELSE 'ready' END,
  reason = CASE
    WHEN due.status = 'running' THEN format('its lease ran out in attempt %%s of at most %%s', attempt, %(most)s::integer) ELSE reason
  END,
  due_at = NULL,
  worker = NULL
FROM due
WHERE jobs.id = due.id
RETURNING jobs.id, jobs.status

-- name: find_due
-- The jobs that are due, for a sweep one by one.
SELECT id FROM jobs WHERE status IN ('running', 'waiting') AND due_at <= now() ORDER BY id

-- name: bury
-- Have a job that is due dead, with a reason.
UPDATE jobs SET status = 'dead', reason = %(reason)s::text, due_at = NULL, worker = NULL
WHERE id = %(job)s::bigint AND status IN ('running', 'waiting') AND due_at <= now()
RETURNING id

-- name: write_progress
-- Raise the progress of the claims in a JSON array of [job, token, fraction]. Never lowers it, never touches a job that is not running
-- or was handed on since. What is no longer so is left out. Locked first, in the order claims lock in, as in `complete`.
WITH held AS (
  SELECT jobs.id, (change.triple ->> 2)::double precision AS fraction
  FROM jobs
  JOIN json_array_elements(%(changes)s::json) AS change (triple)
    ON jobs.id = (change.triple ->> 0)::bigint AND jobs.token = (change.triple ->> 1)::bigint
  WHERE jobs.status = 'running' AND coalesce(jobs.progress, -1) < (change.triple ->> 2)::double precision
  ORDER BY jobs.priority DESC, jobs.id
  FOR UPDATE OF jobs
)
UPDATE jobs SET progress = held.fraction
FROM held
WHERE jobs.id = held.id

-- name: read_progress
-- The progress of one job, with the token of its last claim.
SELECT token, progress FROM jobs WHERE id = %(job)s::bigint

-- name: read_identity
-- The queue's own name.
SELECT id FROM identity

-- name: submit_run
-- Make a run and every job of a JSON array in it, in one statement: nobody sees one without the other. Their tag is the run's unless
-- they have one.
WITH made AS (
  INSERT INTO runs (tag) VALUES (%(tag)s::text) RETURNING id
), added AS (
  INSERT INTO jobs (payload, priority, tag, run)
  SELECT job.payload, job.priority, coalesce(job.tag, %(tag)s::text), made.id
  FROM made
  CROSS JOIN ROWS FROM (json_to_recordset(%(jobs)s::json) AS (payload text, priority integer, tag text))
    WITH ORDINALITY AS job (payload, priority, tag, position)
  ORDER BY job.position
)
SELECT id FROM made

-- name: make_run
-- WRONG on its own: a run that anybody can see before it has its jobs.
INSERT INTO runs (tag) VALUES (%(tag)s::text) RETURNING id

-- name: read_run
-- A run with its jobs: a row for each, or one with a null where it has none; no row where there is no such run.
SELECT runs.id, jobs.id FROM runs LEFT JOIN jobs ON jobs.run = runs.id WHERE runs.id = %(run)s::bigint ORDER BY jobs.id

-- name: add_actions
-- Add every action of a JSON array of names to a job.
INSERT INTO actions (job, name)
SELECT %(job)s::bigint, name FROM json_array_elements_text(%(names)s::json) WITH ORDINALITY AS action (name, position) ORDER BY position
RETURNING id

-- name: delete_jobs
-- Delete the jobs of an array of ids, with their actions. A running job is spared: who waited for a lock looks at the job again, as it
-- then is. Locked first, in the order claims lock in, as in `complete`.
WITH doomed AS (
  SELECT id FROM jobs
  WHERE id = ANY (%(ids)s::bigint[]) AND status <> 'running'
  ORDER BY priority DESC, id
  FOR UPDATE
)
DELETE FROM jobs USING doomed WHERE jobs.id = doomed.id

-- name: delete_runs
-- Delete the runs of an array of ids, each with all its jobs and their actions. A run with a running job is spared, whole: `held` has
-- every job as it is once its lock is ours.
WITH chosen AS (
  SELECT id FROM runs WHERE id = ANY (%(ids)s::bigint[]) ORDER BY id FOR UPDATE
), held AS (
  SELECT jobs.run, jobs.status
  FROM jobs JOIN chosen ON jobs.run = chosen.id
  ORDER BY jobs.priority DESC, jobs.id
  FOR UPDATE OF jobs
), doomed AS (
  SELECT id FROM chosen WHERE NOT EXISTS (SELECT FROM held WHERE held.run = chosen.id AND held.status = 'running')
), gone AS (
  DELETE FROM jobs USING doomed WHERE jobs.run = doomed.id
)
DELETE FROM runs USING doomed WHERE runs.id = doomed.id

-- name: delete_actions
-- Delete the actions of an array of ids, except those of a running job, which is locked so that it does not begin to run meanwhile.
WITH held AS (
  SELECT id FROM jobs
  WHERE id IN (SELECT job FROM actions WHERE id = ANY (%(ids)s::bigint[])) AND status <> 'running'
  ORDER BY priority DESC, id
  FOR UPDATE
)
DELETE FROM actions USING held WHERE actions.job = held.id AND actions.id = ANY (%(ids)s::bigint[])

-- name: delete_jobs_listed
-- As delete_jobs, for as many ids as the protocol takes parameters; {ids} becomes one for each.
WITH doomed AS (
  SELECT id FROM jobs WHERE id IN ({ids}) AND status <> 'running' ORDER BY priority DESC, id FOR UPDATE
)
DELETE FROM jobs USING doomed WHERE jobs.id = doomed.id

-- name: delete_runs_listed
-- As delete_runs, with a parameter for each id.
WITH chosen AS (
  SELECT id FROM runs WHERE id IN ({ids}) ORDER BY id FOR UPDATE
), held AS (
  SELECT jobs.run, jobs.status
  FROM jobs JOIN chosen ON jobs.run = chosen.id
  ORDER BY jobs.priority DESC, jobs.id
  FOR UPDATE OF jobs
), doomed AS (
  SELECT id FROM chosen WHERE NOT EXISTS (SELECT FROM held WHERE held.run = chosen.id AND held.status = 'running')
), gone AS (
  DELETE FROM jobs USING doomed WHERE jobs.run = doomed.id
)
DELETE FROM runs USING doomed WHERE runs.id = doomed.id

-- name: delete_actions_listed
-- As delete_actions, with a parameter for each id.
WITH asked AS (
  SELECT id, job FROM actions WHERE id IN ({ids})
), held AS (
  SELECT id FROM jobs
  WHERE id IN (SELECT job FROM asked) AND status <> 'running'
  ORDER BY priority DESC, id
  FOR UPDATE
)
DELETE FROM actions USING held, asked WHERE actions.job = held.id AND actions.id = asked.id

-- name: clean
-- Clean up by tag (every tag where it is null), and count what went. A run of the tag goes with all its jobs, unless one is running; so
-- does a job of the tag outside any run. Locked as in delete_runs.
WITH chosen AS (
  SELECT id FROM runs WHERE %(tag)s::text IS NULL OR tag = %(tag)s::text ORDER BY id FOR UPDATE
), held AS (
  SELECT id, run, status
  FROM jobs
  WHERE run IN (SELECT id FROM chosen)
    OR (run IS NULL AND (tag = %(tag)s::text OR %(tag)s::text IS NULL))
  ORDER BY priority DESC, id
  FOR UPDATE
), doomed AS (
  SELECT id FROM chosen WHERE NOT EXISTS (SELECT FROM held WHERE held.run = chosen.id AND held.status = 'running')
), doomed_jobs AS (
  SELECT id FROM held WHERE run IN (SELECT id FROM doomed) OR (run IS NULL AND status <> 'running')
), gone_actions AS (
  DELETE FROM actions USING doomed_jobs WHERE actions.job = doomed_jobs.id RETURNING 1
), gone_jobs AS (
  DELETE FROM jobs USING doomed_jobs WHERE jobs.id = doomed_jobs.id RETURNING 1
), gone_runs AS (
  DELETE FROM runs USING doomed WHERE runs.id = doomed.id RETURNING 1
)
SELECT (SELECT count(*) FROM gone_jobs), (SELECT count(*) FROM gone_runs), (SELECT count(*) FROM gone_actions)

-- name: status_all
-- Every run and every job as they stand at one moment: a run has a null for its job. Oldest first, runs before jobs.
SELECT NULL::bigint AS job, id AS run, tag, NULL::text, NULL::integer, NULL::text, NULL::bigint, NULL::integer, NULL::double precision,
  NULL::text
FROM runs
UNION ALL
SELECT id, run, tag, status, priority, worker, token, attempt, progress, reason FROM jobs
ORDER BY job NULLS FIRST, run

-- name: status_runs
-- Every run, in the columns of status_all.
SELECT
  NULL::bigint, id, tag, NULL::text, NULL::integer, NULL::text, NULL::bigint, NULL::integer, NULL::double precision, NULL::text
FROM runs
ORDER BY id

-- name: status_jobs
-- Every job, in the columns of status_all.
SELECT id, run, tag, status, priority, worker, token, attempt, progress, reason FROM jobs ORDER BY id

-- name: find_deletable
-- The ids of a clean-up's jobs, as of now; for those who then delete one by one, or do not look again.
SELECT id FROM deletable WHERE %(tag)s::text IS NULL OR tag = %(tag)s::text ORDER BY id

-- name: find_runs
-- The ids of a tag's runs.
SELECT id FROM runs WHERE %(tag)s::text IS NULL OR tag = %(tag)s::text ORDER BY id

-- name: delete_job_unguarded
-- WRONG: deletes a job whatever it has become since it was chosen.
DELETE FROM jobs WHERE id = %(id)s::bigint

-- name: delete_run_if_empty
-- Delete a run that has no job left.
DELETE FROM runs WHERE id = %(id)s::bigint AND NOT EXISTS (SELECT FROM jobs WHERE jobs.run = runs.id)

-- name: write_progress_unguarded
-- WRONG: sets progress whatever it was, of a finished or handed-on job too.
UPDATE jobs SET progress = (change.triple ->> 2)::double precision
FROM json_array_elements(%(changes)s::json) AS change (triple)
WHERE jobs.id = (change.triple ->> 0)::bigint

-- name: complete_unfenced
-- WRONG: finishes the jobs of a JSON array of [job, token] whosever they are now.
UPDATE jobs SET status = 'done', due_at = NULL
FROM json_array_elements(%(handles)s::json) AS handle (pair)
WHERE jobs.id = (handle.pair ->> 0)::bigint
RETURNING jobs.id, (handle.pair ->> 1)::bigint

-- name: complete_running
-- WRONG: as complete, of any job that is running, though another claim of it may be.
UPDATE jobs SET status = 'done', due_at = NULL
FROM json_array_elements(%(handles)s::json) AS handle (pair)
WHERE jobs.id = (handle.pair ->> 0)::bigint AND jobs.status = 'running'
RETURNING jobs.id, (handle.pair ->> 1)::bigint

-- name: take_if_ready
-- Marks one job as running where it is still ready, having waited for whoever holds it; right for one job, and for several only where
-- everybody takes them in one order.
UPDATE jobs SET
  status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1,
  due_at = clock_timestamp() + %(lease)s::interval, progress = NULL
WHERE id = %(job)s::bigint AND status = 'ready'
RETURNING priority, id, token, attempt

-- name: make_board
-- The progress of all jobs in one document of {job: [token, fraction]}; for those who do without the column.
CREATE TABLE board AS SELECT CAST('{}' AS text) AS progress

-- name: read_board
-- The document.
SELECT progress FROM board

-- name: write_board
-- WRONG after a read of its own: whatever others wrote since is gone.
UPDATE board SET progress = %(board)s::text

-- name: complete_by_name
-- WRONG where workers share a name: finishes what this name holds, whichever claim of it that is.
UPDATE jobs SET status = 'done', due_at = NULL
FROM json_array_elements(%(handles)s::json) AS handle (pair)
WHERE jobs.id = (handle.pair ->> 0)::bigint AND jobs.status = 'running' AND jobs.worker = 'host'
RETURNING jobs.id, 1

-- name: take_candidates
-- WRONG: the candidates are chosen without a lock, and joined by their ids alone.
WITH candidate AS MATERIALIZED (
  SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint
)
UPDATE jobs SET
  status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1,
  due_at = clock_timestamp() + %(lease)s::interval, progress = NULL
FROM candidate
WHERE jobs.id = candidate.id
RETURNING jobs.priority, jobs.id, jobs.token, jobs.attempt

-- name: take_guarded_subquery
-- WRONG: who had to wait for a row checks it again and finds it taken, and has nothing to go on to.
UPDATE jobs SET
  status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1,
  due_at = clock_timestamp() + %(lease)s::interval, progress = NULL
WHERE status = 'ready' AND id = ANY (ARRAY(
  SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint
))
RETURNING priority, id, token, attempt

-- name: take_of_first
-- WRONG: looks at the first jobs alone, ready or not.
WITH first AS (
  SELECT id FROM jobs WHERE status <> 'done' ORDER BY priority DESC, id LIMIT %(limit)s::bigint FOR UPDATE
)
UPDATE jobs SET
  status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1,
  due_at = clock_timestamp() + %(lease)s::interval, progress = NULL
FROM first
WHERE jobs.id = first.id AND jobs.status = 'ready'
RETURNING jobs.priority, jobs.id, jobs.token, jobs.attempt

-- name: try_advisory_lock
-- A job's own lock, until the transaction ends.
SELECT pg_try_advisory_xact_lock(%(job)s::bigint)

-- name: take_if_not_running
-- WRONG of a job that may have been finished since it was seen.
UPDATE jobs SET
  status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1,
  due_at = clock_timestamp() + %(lease)s::interval, progress = NULL
WHERE id = %(job)s::bigint AND status <> 'running'
RETURNING priority, id, token, attempt

-- name: set_repeatable_read
-- One snapshot for the whole transaction.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ

-- name: take_without_lease
-- WRONG: a job that is running and never due.
WITH candidate AS (
  SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1, progress = NULL
FROM candidate
WHERE jobs.id = candidate.id
RETURNING jobs.priority, jobs.id, jobs.token, jobs.attempt

-- name: start_lease
-- The lease that belongs to it.
UPDATE jobs SET due_at = clock_timestamp() + %(lease)s::interval WHERE id = %(job)s::bigint

-- name: touch
-- Which claims of a JSON array of [job, token] are still their jobs' last ones.
SELECT jobs.id, jobs.token
FROM jobs
JOIN json_array_elements(%(handles)s::json) AS handle (pair)
  ON jobs.id = (handle.pair ->> 0)::bigint AND jobs.token = (handle.pair ->> 1)::bigint
WHERE jobs.status = 'running'

-- name: pop
-- WRONG unless it is declared: a job is gone once it is claimed.
WITH candidate AS (
  SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint FOR UPDATE SKIP LOCKED
)
DELETE FROM jobs USING candidate WHERE jobs.id = candidate.id
RETURNING jobs.priority, jobs.id, jobs.token + 1, jobs.attempt + 1

-- name: make_ready
-- WRONG: makes a job ready whatever it has become.
UPDATE jobs SET status = 'ready', worker = NULL, due_at = NULL WHERE id = %(job)s::bigint

-- name: sweep_miscounting
-- WRONG: makes what is due ready, and takes its attempt back.
UPDATE jobs SET status = 'ready', worker = NULL, due_at = NULL, attempt = attempt - 1
WHERE status = 'running' AND due_at <= now()

-- name: add_key
-- What a job is known by to those who enqueue it.
ALTER TABLE jobs ADD COLUMN key text

-- name: make_keys_unique
-- One job to a key.
CREATE UNIQUE INDEX jobs_of_key ON jobs (key)

-- name: enqueue_keyed
-- As enqueue, each with the key of the same place in a JSON array of keys, but for those whose key the index refuses; the key with the id.
-- Waits for whoever is adding one with the same key, and adds it where that was undone.
INSERT INTO jobs (payload, priority, tag, run, key)
SELECT payload, priority, tag, run, key
FROM ROWS FROM (
  json_to_recordset(%(jobs)s::json) AS (payload text, priority integer, tag text, run bigint),
  json_array_elements_text(%(keys)s::json)
) WITH ORDINALITY AS job (payload, priority, tag, run, key, position)
ORDER BY position
ON CONFLICT DO NOTHING
RETURNING id, key

-- name: find_by_key
-- Those of a JSON array of keys that there is a job of, each with its oldest.
SELECT key, min(id) FROM jobs WHERE key IN (SELECT json_array_elements_text(%(keys)s::json)) GROUP BY key

-- name: lock_queue
-- The queue's own row, locked until the transaction ends.
SELECT id FROM identity FOR UPDATE

-- name: count_running
-- How many jobs are running; of use to who claims only while nobody else does.
SELECT count(*) FROM jobs WHERE status = 'running'

-- name: find_others_up_to
-- The jobs up to the last of an array of ids that are not in it, as of now.
SELECT id FROM jobs
WHERE id <= (SELECT max(id) FROM unnest(%(ids)s::bigint[]) AS asked (id)) AND id <> ALL (%(ids)s::bigint[])
LIMIT 1

-- name: delete_jobs_up_to
-- WRONG after a look of its own: ids are not committed in their order.
DELETE FROM jobs WHERE id <= %(last)s::bigint AND status <> 'running'

-- name: take_trying_locks
-- WRONG: WHERE is asked of every ready job, as no index has this order, and so each of them is locked for the session; LIMIT comes after.
WITH candidate AS (
  SELECT id FROM jobs WHERE status = 'ready' AND pg_try_advisory_lock(id) ORDER BY -priority, id LIMIT %(limit)s::bigint
)
UPDATE jobs SET
  status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1,
  due_at = clock_timestamp() + %(lease)s::interval, progress = NULL
FROM candidate
WHERE jobs.id = candidate.id AND jobs.status = 'ready'
RETURNING jobs.priority, jobs.id, jobs.token, jobs.attempt

-- name: unlock
-- Let go of the session's locks of the jobs of a JSON array of ids.
SELECT pg_advisory_unlock(job::bigint) FROM json_array_elements_text(%(jobs)s::json) AS wanted (job)

-- name: find_jobs_table
-- A row where the queue is installed.
SELECT 1 WHERE to_regclass('jobs') IS NOT NULL

-- name: make_all_ready
-- WRONG while anybody is at work: makes every running job ready.
UPDATE jobs SET status = 'ready', worker = NULL, due_at = NULL WHERE status = 'running'

-- name: leave_bad_row
-- Two jobs that are to be there once: the first cannot leave the state it is in.
INSERT INTO jobs (payload, priority, tag, status, due_at)
VALUES ('null', 0, 'once', 'running', 'epoch'), ('null', 0, 'once', 'done', NULL)

-- name: refuse_bad_row
-- Of the jobs of this tag there is one at most that is not running.
CREATE UNIQUE INDEX jobs_once ON jobs (tag) WHERE tag = 'once' AND status <> 'running'

-- name: make_tally
-- How many jobs were claimed, in one row.
CREATE TABLE tally AS SELECT 0::bigint AS claimed

-- name: raise_tally
-- Count claimed jobs; waits for whoever counts at the same time.
UPDATE tally SET claimed = claimed + %(jobs)s::bigint

-- name: charge_attempt
-- WRONG of jobs that nobody has begun: counts an attempt that failed for each ready job of an array of ids.
UPDATE jobs SET attempt = attempt + 1, reason = 'failed in attempt ' || attempt + 1 WHERE id = ANY (%(jobs)s::bigint[]) AND status = 'ready'

-- name: sweep_by_own_clock
-- WRONG: makes ready what is due by the clock of whoever asks, %(now)s in seconds since 1970.
UPDATE jobs SET status = 'ready', worker = NULL, due_at = NULL
WHERE status = 'running' AND due_at <= to_timestamp(%(now)s)
RETURNING id
