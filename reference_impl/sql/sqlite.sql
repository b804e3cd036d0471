-- The reference queue on SQLite (3.35 or later, for RETURNING). One statement to a name; the comments are not sent.
-- Lists travel as one JSON parameter: constant statements, and no limit on bind variables to meet.

-- name: create_runs
-- Runs: jobs that were submitted together. AUTOINCREMENT, as a plain rowid is given again after a delete and a stale id would then
-- name a new run.
CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  tag TEXT NOT NULL
)

-- name: create_jobs
-- The jobs. AUTOINCREMENT as in runs: a stale handle would name a new job. `token` counts claims and never goes back: (id, token) is
-- one claim and no other. `attempt` counts executions begun. `progress` is of the last claim, null until its first report.
-- `due_at`, a Julian day by SQLite's own clock, is when the sweep is to look at a job: when the lease of a running one ends, or the pause
-- of a waiting one, which failed and is to be tried again. A dead one has had all its attempts; `reason` says what became of the last.
-- A run goes with its jobs, never without them; the statements that delete spare what is running.
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  payload TEXT NOT NULL,
  priority INTEGER NOT NULL,
  tag TEXT,
  run INTEGER REFERENCES runs (id) ON DELETE CASCADE,
  status TEXT NOT NULL DEFAULT 'ready' CHECK (status IN ('ready', 'running', 'waiting', 'done', 'dead')),
  worker TEXT,
  token INTEGER NOT NULL DEFAULT 0,
  attempt INTEGER NOT NULL DEFAULT 0,
  due_at REAL,
  reason TEXT,
  progress REAL CHECK (progress BETWEEN 0 AND 1)
)

-- name: create_jobs_of_run
-- A run's jobs, for those who delete or read a run.
CREATE INDEX jobs_of_run ON jobs (run) WHERE run IS NOT NULL

-- name: create_actions
-- What a job did or is to do; a job goes with its actions.
CREATE TABLE actions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  name TEXT NOT NULL
)

-- name: create_actions_of_job
-- A job's actions, for those who delete a job.
CREATE INDEX actions_of_job ON actions (job)

-- name: create_identity
-- A name of this queue's own, one row: two queues may share one Redis, and their jobs have the same ids.
CREATE TABLE identity AS SELECT lower(hex(randomblob(8))) AS id

-- name: create_deletable
-- What a clean-up may delete: a run's jobs while none of them is running, under the run's tag; any other job that is not running.
CREATE VIEW deletable AS
SELECT jobs.id, coalesce(runs.tag, jobs.tag) AS tag
FROM jobs
LEFT JOIN runs ON runs.id = jobs.run
WHERE jobs.status <> 'running'
  AND NOT EXISTS (SELECT 1 FROM jobs AS sibling WHERE sibling.run = jobs.run AND sibling.status = 'running')

-- name: create_jobs_ready
-- The order of claims: larger priority first, then age. Partial, so that finished jobs do not slow a claim.
CREATE INDEX jobs_ready ON jobs (priority DESC, id) WHERE status = 'ready'

-- name: create_jobs_pending
-- What the sweep has to look at. Not by due_at, so that a heartbeat changes no index.
CREATE INDEX jobs_pending ON jobs (id) WHERE status IN ('running', 'waiting')

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
UPDATE jobs SET
  status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1,
  due_at = julianday('now', :lease), progress = NULL
WHERE id = :job
RETURNING priority, id, token, attempt

-- name: take_if_unchanged
-- Compare and set: marks one job as running only where it is still as it was read; no row where somebody else was quicker.
UPDATE jobs SET
  status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1,
  due_at = julianday('now', :lease), progress = NULL
WHERE id = :job AND status = 'ready' AND token = :token
RETURNING priority, id, token, attempt

-- name: take_batch
-- Marks every job of a JSON array of ids as running: the one UPDATE of a batch claim, for use under a lock.
UPDATE jobs SET
  status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1,
  due_at = julianday('now', :lease), progress = NULL
WHERE id IN (SELECT value FROM json_each(:jobs))
RETURNING priority, id, token, attempt

-- name: take_best
-- The whole claim in one statement. An UPDATE takes the write lock before it reads, so nobody comes between.
UPDATE jobs SET
  status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1,
  due_at = julianday('now', :lease), progress = NULL
WHERE id IN (SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT :limit)
RETURNING priority, id, token, attempt

-- name: complete
-- Finish the claims of a JSON array of [job, token]; a claim that is no longer the job's last one is left out.
UPDATE jobs SET status = 'done', due_at = NULL
FROM (SELECT json_extract(value, '$[0]') AS job, json_extract(value, '$[1]') AS token FROM json_each(:handles)) AS handle
WHERE jobs.id = handle.job AND jobs.token = handle.token AND jobs.status = 'running'
RETURNING id, token

-- name: fail
-- Give the jobs of a JSON array of [job, token] back; fenced as `complete` is. One that has had all its attempts is dead; another is
-- ready at once where the pause after a first attempt is 0 seconds, else it waits: twice as long after each attempt, up to an hour, and
-- by chance up to half of it less, so that what failed together is not tried again together.
UPDATE jobs SET
  status = CASE WHEN attempt >= :most THEN 'dead' WHEN :pause = 0 THEN 'ready' ELSE 'waiting' END,
  reason = 'failed in attempt ' || attempt || ' of at most ' || :most,
  due_at = CASE
    WHEN attempt < :most AND :pause > 0
    THEN julianday('now') + min(:pause * (1 << min(attempt - 1, 30)), 3600) * (1 + abs(random() % 1000) / 1000.0) / 2 / 86400
  END,
  worker = NULL
FROM (SELECT json_extract(value, '$[0]') AS job, json_extract(value, '$[1]') AS token FROM json_each(:handles)) AS handle
WHERE jobs.id = handle.job AND jobs.token = handle.token AND jobs.status = 'running'
RETURNING id, token

-- name: heartbeat
-- Extend the leases of the claims of a JSON array of [job, token]; fenced as `complete` is. Never shortens one.
UPDATE jobs SET due_at = max(due_at, julianday('now', :lease))
FROM (SELECT json_extract(value, '$[0]') AS job, json_extract(value, '$[1]') AS token FROM json_each(:handles)) AS handle
WHERE jobs.id = handle.job AND jobs.token = handle.token AND jobs.status = 'running'
RETURNING id, token

-- name: sweep
-- Make what is due ready again, or dead where it was running and has had all its attempts: every job, or one.
UPDATE jobs SET
  status = CASE WHEN status = 'running' AND attempt >= :most THEN 'dead' ELSE 'ready' END,
  reason = CASE WHEN status = 'running' THEN 'its lease ran out in attempt ' || attempt || ' of at most ' || :most ELSE reason END,
  due_at = NULL,
  worker = NULL
WHERE status IN ('running', 'waiting') AND due_at <= julianday('now') AND (:job IS NULL OR id = :job)
RETURNING id, status

-- name: find_due
-- The jobs that are due, for a sweep one by one.
SELECT id FROM jobs WHERE status IN ('running', 'waiting') AND due_at <= julianday('now') ORDER BY id

-- name: bury
-- Have a job that is due dead, with a reason.
UPDATE jobs SET status = 'dead', reason = :reason, due_at = NULL, worker = NULL
WHERE id = :job AND status IN ('running', 'waiting') AND due_at <= julianday('now')
RETURNING id

-- name: write_progress
-- Raise the progress of the claims in a JSON array of [job, token, fraction]. Never lowers it, never touches a job that is not running
-- or was handed on since. What is no longer so is left out.
UPDATE jobs SET progress = change.fraction
FROM (
  SELECT json_extract(value, '$[0]') AS job, json_extract(value, '$[1]') AS token, json_extract(value, '$[2]') AS fraction
  FROM json_each(:changes)
) AS change
WHERE jobs.id = change.job AND jobs.token = change.token AND jobs.status = 'running' AND coalesce(jobs.progress, -1) < change.fraction

-- name: read_progress
-- The progress of one job, with the token of its last claim.
SELECT token, progress FROM jobs WHERE id = :job

-- name: read_identity
-- The queue's own name.
SELECT id FROM identity

-- name: make_run
-- Make a run; its jobs are to follow in the same transaction, or others see it without them.
INSERT INTO runs (tag) VALUES (:tag) RETURNING id

-- name: submit_jobs
-- Add every job of a JSON array to a run. Their tag is the run's unless they have one.
INSERT INTO jobs (payload, priority, tag, run)
SELECT
  json_extract(value, '$.payload'),
  json_extract(value, '$.priority'),
  coalesce(json_extract(value, '$.tag'), :tag),
  :run
FROM json_each(:jobs)
ORDER BY key

-- name: read_run
-- A run with its jobs: a row for each, or one with a null where it has none; no row where there is no such run.
SELECT runs.id, jobs.id FROM runs LEFT JOIN jobs ON jobs.run = runs.id WHERE runs.id = :run ORDER BY jobs.id

-- name: add_actions
-- Add every action of a JSON array of names to a job.
INSERT INTO actions (job, name) SELECT :job, value FROM json_each(:names) ORDER BY key RETURNING id

-- name: delete_jobs
-- Delete the jobs of a JSON array of ids, with their actions. A running job is spared, as it stands at this moment.
DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(:ids)) AND status <> 'running'

-- name: delete_runs
-- Delete the runs of a JSON array of ids, each with all its jobs and their actions. A run with a running job is spared, whole.
DELETE FROM runs
WHERE id IN (SELECT value FROM json_each(:ids))
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.run = runs.id AND jobs.status = 'running')

-- name: delete_actions
-- Delete the actions of a JSON array of ids, except those of a running job.
DELETE FROM actions
WHERE id IN (SELECT value FROM json_each(:ids))
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = actions.job AND jobs.status = 'running')

-- name: delete_jobs_listed
-- As delete_jobs, for as many ids as the engine takes variables; {ids} becomes a question mark for each.
DELETE FROM jobs WHERE id IN ({ids}) AND status <> 'running'

-- name: delete_runs_listed
-- As delete_runs, with a question mark for each id.
DELETE FROM runs
WHERE id IN ({ids}) AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.run = runs.id AND jobs.status = 'running')

-- name: delete_actions_listed
-- As delete_actions, with a question mark for each id.
DELETE FROM actions
WHERE id IN ({ids}) AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = actions.job AND jobs.status = 'running')

-- name: clean_actions
-- The first of three statements of a clean-up by tag (every tag where it is null), in one transaction that began as a writer: the
-- actions of all jobs that go.
DELETE FROM actions WHERE job IN (SELECT id FROM deletable WHERE :tag IS NULL OR tag = :tag)

-- name: clean_jobs
-- The second: those jobs.
DELETE FROM jobs WHERE id IN (SELECT id FROM deletable WHERE :tag IS NULL OR tag = :tag)

-- name: clean_runs
-- The third: their runs, and those that had no job.
DELETE FROM runs
WHERE (:tag IS NULL OR tag = :tag)
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.run = runs.id AND jobs.status = 'running')

-- name: status_all
-- Every run and every job as they stand at one moment: a run has a null for its job. Oldest first, a run before its jobs.
SELECT NULL, runs.id, runs.tag, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM runs
UNION ALL
SELECT id, run, tag, status, priority, worker, token, attempt, progress, reason FROM jobs
ORDER BY 1, 2

-- name: status_runs
-- Every run, in the columns of status_all.
SELECT NULL, runs.id, runs.tag, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM runs ORDER BY id

-- name: status_jobs
-- Every job, in the columns of status_all.
SELECT id, run, tag, status, priority, worker, token, attempt, progress, reason FROM jobs ORDER BY id

-- name: find_deletable
-- The ids of a clean-up's jobs, as of now; for those who then delete one by one, or do not look again.
SELECT id FROM deletable WHERE :tag IS NULL OR tag = :tag ORDER BY id

-- name: find_runs
-- The ids of a tag's runs.
SELECT id FROM runs WHERE :tag IS NULL OR tag = :tag ORDER BY id

-- name: delete_job_unguarded
-- WRONG: deletes a job whatever it has become since it was chosen.
DELETE FROM jobs WHERE id = :id

-- name: delete_run_if_empty
-- Delete a run that has no job left.
DELETE FROM runs WHERE id = :id AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.run = runs.id)

-- name: write_progress_unguarded
-- WRONG: sets progress whatever it was, of a finished or handed-on job too.
UPDATE jobs SET progress = change.fraction
FROM (SELECT json_extract(value, '$[0]') AS job, json_extract(value, '$[2]') AS fraction FROM json_each(:changes)) AS change
WHERE jobs.id = change.job

-- name: complete_unfenced
-- WRONG: finishes the jobs of a JSON array of [job, token] whosever they are now.
UPDATE jobs SET status = 'done', due_at = NULL
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:handles))
RETURNING id, (SELECT json_extract(value, '$[1]') FROM json_each(:handles) WHERE json_extract(value, '$[0]') = jobs.id)

-- name: complete_running
-- WRONG: as complete, of any job that is running, though another claim of it may be.
UPDATE jobs SET status = 'done', due_at = NULL
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:handles)) AND status = 'running'
RETURNING id, (SELECT json_extract(value, '$[1]') FROM json_each(:handles) WHERE json_extract(value, '$[0]') = jobs.id)

-- name: make_board
-- The progress of all jobs in one document of {job: [token, fraction]}; for those who do without the column.
CREATE TABLE board AS SELECT CAST('{}' AS text) AS progress

-- name: read_board
-- The document.
SELECT progress FROM board

-- name: write_board
-- WRONG after a read of its own: whatever others wrote since is gone.
UPDATE board SET progress = :board

-- name: complete_by_name
-- WRONG where workers share a name: finishes what this name holds, whichever claim of it that is.
UPDATE jobs SET status = 'done', due_at = NULL
WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:handles)) AND status = 'running' AND worker = 'host'
RETURNING id, 1

-- name: take_of
-- Marks what is still ready of the jobs of a JSON array of ids as running.
UPDATE jobs SET
  status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1,
  due_at = julianday('now', :lease), progress = NULL
WHERE id IN (SELECT value FROM json_each(:jobs)) AND status = 'ready'
RETURNING priority, id, token, attempt

-- name: take_of_first
-- WRONG: looks at the first jobs alone, ready or not.
UPDATE jobs SET
  status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1,
  due_at = julianday('now', :lease), progress = NULL
WHERE id IN (SELECT id FROM jobs WHERE status <> 'done' ORDER BY priority DESC, id LIMIT :limit) AND status = 'ready'
RETURNING priority, id, token, attempt

-- name: take_without_lease
-- WRONG: a job that is running and never due.
UPDATE jobs SET status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1, progress = NULL
WHERE id IN (SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT :limit)
RETURNING priority, id, token, attempt

-- name: start_lease
-- The lease that belongs to it.
UPDATE jobs SET due_at = julianday('now', :lease) WHERE id = :job

-- name: touch
-- Which claims of a JSON array of [job, token] are still their jobs' last ones.
SELECT id, token FROM jobs
WHERE status = 'running'
  AND (id, token) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:handles))

-- name: pop
-- WRONG unless it is declared: a job is gone once it is claimed.
DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id LIMIT :limit)
RETURNING priority, id, token + 1, attempt + 1

-- name: make_ready
-- WRONG: makes a job ready whatever it has become.
UPDATE jobs SET status = 'ready', worker = NULL, due_at = NULL WHERE id = :job

-- name: sweep_miscounting
-- WRONG: makes what is due ready, and takes its attempt back.
UPDATE jobs SET status = 'ready', worker = NULL, due_at = NULL, attempt = attempt - 1
WHERE status = 'running' AND due_at <= julianday('now')

-- name: add_key
-- What a job is known by to those who enqueue it.
ALTER TABLE jobs ADD COLUMN key TEXT

-- name: make_keys_unique
-- One job to a key.
CREATE UNIQUE INDEX jobs_of_key ON jobs (key)

-- name: enqueue_keyed
-- As enqueue, each with the key of the same place in a JSON array of keys, but for those whose key the index refuses; the key with the id.
INSERT INTO jobs (payload, priority, tag, run, key)
SELECT
  json_extract(value, '$.payload'),
  json_extract(value, '$.priority'),
  json_extract(value, '$.tag'),
  json_extract(value, '$.run'),
  json_extract(:keys, '$[' || key || ']')
FROM json_each(:jobs)
WHERE true
ORDER BY key
ON CONFLICT DO NOTHING
RETURNING id, key

-- name: find_by_key
-- Those of a JSON array of keys that there is a job of, each with its oldest.
SELECT key, min(id) FROM jobs WHERE key IN (SELECT value FROM json_each(:keys)) GROUP BY key

-- name: count_running
-- How many jobs are running; of use to who claims only while nobody else does.
SELECT count(*) FROM jobs WHERE status = 'running'

-- name: add_run_at
-- When a job is due, as text.
ALTER TABLE jobs ADD COLUMN run_at TEXT

-- name: enqueue_at
-- As enqueue, with a time.
INSERT INTO jobs (payload, priority, tag, run, run_at)
SELECT
  json_extract(value, '$.payload'),
  json_extract(value, '$.priority'),
  json_extract(value, '$.tag'),
  json_extract(value, '$.run'),
  :run_at
FROM json_each(:jobs)
ORDER BY key
RETURNING id

-- name: take_due
-- WRONG where times were written in another format than that of datetime(): texts are compared.
UPDATE jobs SET
  status = 'running', worker = :worker, token = token + 1, attempt = attempt + 1,
  due_at = julianday('now', :lease), progress = NULL
WHERE id IN (SELECT id FROM jobs WHERE status = 'ready' AND run_at <= datetime('now') ORDER BY priority DESC, id LIMIT :limit)
RETURNING priority, id, token, attempt

-- name: find_jobs_table
-- A row where the queue is installed.
SELECT 1 FROM sqlite_master WHERE name = 'jobs'

-- name: make_all_ready
-- WRONG while anybody is at work: makes every running job ready.
UPDATE jobs SET status = 'ready', worker = NULL, due_at = NULL WHERE status = 'running'

-- name: leave_bad_row
-- Two jobs that are to be there once: the first cannot leave the state it is in.
INSERT INTO jobs (payload, priority, tag, status, due_at) VALUES ('null', 0, 'once', 'running', 0), ('null', 0, 'once', 'done', NULL)

-- name: refuse_bad_row
-- Of the jobs of this tag there is one at most that is not running.
CREATE UNIQUE INDEX jobs_once ON jobs (tag) WHERE tag = 'once' AND status <> 'running'

-- name: charge_attempt
-- WRONG of jobs that nobody has begun: counts an attempt that failed for each ready job of a JSON array of ids.
UPDATE jobs SET attempt = attempt + 1, reason = 'failed in attempt ' || (attempt + 1)
WHERE id IN (SELECT value FROM json_each(:jobs)) AND status = 'ready'

-- name: sweep_by_own_clock
-- WRONG: makes ready what is due by the clock of whoever asks, :now in seconds since 1970.
UPDATE jobs SET status = 'ready', worker = NULL, due_at = NULL
WHERE status = 'running' AND due_at <= julianday(:now, 'unixepoch')
RETURNING id
