-- jobs-handed-on: a job whose holder had been harmed was handed to another, so that recovery was seen at work.
-- Remedy: Plan a fault that takes a worker from its jobs: the option faults=pause-worker,kill-worker.
SELECT count(*) > 0 AS present, 'No job was handed on by one that a fault had befallen.' AS reason
FROM (
  SELECT job, operation, process, lag(process) OVER (PARTITION BY job ORDER BY completed_ns) AS before
  FROM handles WHERE kind = 'claim' AND outcome = 'ok'
) c
WHERE c.before <> c.process;
