-- The reference queue on SQLite (3.35 or later, for RETURNING). One statement to a name; the comments are not sent.
-- Lists travel as one JSON parameter: constant statements, and no limit on bind variables to meet.

-- name: create_jobs
-- The jobs. AUTOINCREMENT, as a plain rowid is given again after a delete and a stale handle would then name a new job.
-- `token` counts claims and never goes back: (id, token) is one claim and no other. `attempt` counts executions begun.
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  payload TEXT NOT NULL,
  priority INTEGER NOT NULL,
  tag TEXT,
  run TEXT,
  status TEXT NOT NULL DEFAULT 'ready' CHECK (status IN ('ready', 'running', 'done')),
  worker TEXT,
  token INTEGER NOT NULL DEFAULT 0,
  attempt INTEGER NOT NULL DEFAULT 0
)

-- name: create_jobs_ready
-- The order of claims: larger priority first, then age. Partial, so that finished jobs do not slow a claim.
CREATE INDEX jobs_ready ON jobs (priority DESC, id) WHERE status = 'ready'

-- name: enqueue
-- Add every job of a JSON array; their ids ascend in the order of the array (RETURNING itself keeps no order).
INSERT INTO jobs (payload, priority, tag, run)
SELECT
  json_extract(value, '$.payload'),
  json_extract(value, '$.priority'),
  json_extract(value, '$.tag'),
  json_extract(value, '$.run')
FROM json_each(:jobs)
ORDER BY key
RETURNING id

-- name: select_ready
-- The best ready jobs, as of now: without a write lock, another connection may take them the moment this ends.
SELECT id, token FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT :limit

-- name: take_by_id
-- WRONG without a lock: marks one job as running whatever it has become since it was read.
UPDATE jobs SET status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1
WHERE id = :job
RETURNING priority, id, token, attempt

-- name: take_if_unchanged
-- Compare and set: marks one job as running only where it is still as it was read; no row where somebody else was quicker.
UPDATE jobs SET status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1
WHERE id = :job AND status = 'ready' AND token = :token
RETURNING priority, id, token, attempt

-- name: take_batch
-- Marks every job of a JSON array of ids as running: the one UPDATE of a batch claim, for use under a lock.
UPDATE jobs SET status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1
WHERE id IN (SELECT value FROM json_each(:jobs))
RETURNING priority, id, token, attempt

-- name: take_best
-- The whole claim in one statement. An UPDATE takes the write lock before it reads, so nobody comes between.
UPDATE jobs SET status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1
WHERE id IN (SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT :limit)
RETURNING priority, id, token, attempt

-- name: complete
-- Finish the claims of a JSON array of [job, token]; a claim that is no longer the job's last one is left out.
UPDATE jobs SET status = 'done'
FROM (SELECT json_extract(value, '$[0]') AS job, json_extract(value, '$[1]') AS token FROM json_each(:handles)) AS handle
WHERE jobs.id = handle.job AND jobs.token = handle.token AND jobs.status = 'running'
RETURNING id, token

-- name: fail
-- Give the jobs of a JSON array of [job, token] back; fenced as `complete` is.
UPDATE jobs SET status = 'ready', worker = NULL
FROM (SELECT json_extract(value, '$[0]') AS job, json_extract(value, '$[1]') AS token FROM json_each(:handles)) AS handle
WHERE jobs.id = handle.job AND jobs.token = handle.token AND jobs.status = 'running'
RETURNING id, token

-- name: status_all
-- Every job as it stands, oldest first.
SELECT id, status, priority, tag, run, worker, token, attempt FROM jobs ORDER BY id
