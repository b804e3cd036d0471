-- The reference queue on Postgres (9.5 or later, for SKIP LOCKED), at READ COMMITTED. One statement to a name; the comments
-- are not sent. Lists travel as one JSON or array parameter: constant statements, and far from the protocol's 65,535 parameters.

-- name: create_jobs
-- The jobs. `token` counts claims and never goes back: (id, token) is one claim and no other. `attempt` counts executions begun.
CREATE TABLE jobs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  payload text NOT NULL,
  priority integer NOT NULL,
  tag text,
  run text,
  status text NOT NULL DEFAULT 'ready' CHECK (status IN ('ready', 'running', 'done')),
  worker text,
  token bigint NOT NULL DEFAULT 0,
  attempt integer NOT NULL DEFAULT 0
)

-- name: create_jobs_ready
-- The order of claims: larger priority first, then age. Partial, so that finished jobs do not slow a claim.
CREATE INDEX jobs_ready ON jobs (priority DESC, id) WHERE status = 'ready'

-- name: enqueue
-- Add every job of a JSON array; their ids ascend in the order of the array (RETURNING itself keeps no order).
INSERT INTO jobs (payload, priority, tag, run)
SELECT payload, priority, tag, run
FROM ROWS FROM (json_to_recordset(%(jobs)s::json) AS (payload text, priority integer, tag text, run text))
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
UPDATE jobs SET status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1
WHERE id = %(job)s::bigint
RETURNING priority, id, token, attempt

-- name: take_batch
-- Marks every job of an array of ids as running: the one UPDATE of a batch claim, for use under a lock.
UPDATE jobs SET status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1
WHERE id = ANY (%(jobs)s::bigint[])
RETURNING priority, id, token, attempt

-- name: take_scalar_subquery
-- WRONG: the guard stands only inside the sub-select, which is read once and locks nothing. Who had to wait for a row is
-- given it anyway, as READ COMMITTED checks only the outer WHERE again. The batch form of `WHERE id = (SELECT … LIMIT 1)`.
UPDATE jobs SET status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1
WHERE id = ANY (ARRAY(
  SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint
))
RETURNING priority, id, token, attempt

-- name: take_in_subquery
-- WRONG: the planner may run the sub-select once for each row of `jobs` (a nested loop, chosen where it believes the table
-- to be tiny), and each run locks and adds LIMIT further jobs.
UPDATE jobs SET status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1
WHERE id IN (
  SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint FOR UPDATE SKIP LOCKED
)
RETURNING priority, id, token, attempt

-- name: take_skipping
-- The whole claim in one statement. The common table expression is run exactly once, so LIMIT holds.
WITH candidate AS (
  SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT %(limit)s::bigint FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET status = 'running', worker = %(worker)s, token = token + 1, attempt = attempt + 1
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
UPDATE jobs SET status = 'done'
FROM held
WHERE jobs.id = held.id
RETURNING jobs.id, jobs.token

-- name: fail
-- Give the jobs of a JSON array of [job, token] back; fenced and locked as `complete` is.
WITH held AS (
  SELECT jobs.id
  FROM jobs
  JOIN json_array_elements(%(handles)s::json) AS handle (pair)
    ON jobs.id = (handle.pair ->> 0)::bigint AND jobs.token = (handle.pair ->> 1)::bigint
  WHERE jobs.status = 'running'
  ORDER BY jobs.priority DESC, jobs.id
  FOR UPDATE OF jobs
)
UPDATE jobs SET status = 'ready', worker = NULL
FROM held
WHERE jobs.id = held.id
RETURNING jobs.id, jobs.token

-- name: status_all
-- Every job as it stands, oldest first.
SELECT id, status, priority, tag, run, worker, token, attempt FROM jobs ORDER BY id
