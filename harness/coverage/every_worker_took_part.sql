-- every-worker-took-part: every worker claimed while there was still something to claim.
-- Remedy: Raise --jobs, or lower --workers.
WITH last_job AS (SELECT max(completed_ns) AS ns FROM operations WHERE kind = 'claim' AND phase = 'main' AND returned > 0),
     idle AS (
       SELECT process
       FROM processes
       WHERE role = 'worker'
         AND process NOT IN (
           SELECT process FROM operations, last_job
           WHERE kind = 'claim' AND phase = 'main' AND completed_ns IS NOT NULL AND invoked_ns <= last_job.ns)
     )
SELECT count(*) = 0 AND (SELECT count(*) FROM processes WHERE role = 'worker') > 0 AS present,
       coalesce('Workers that never claimed while there was work: ' || string_agg(process, ', ' ORDER BY process), 'There was no worker') || '.' AS reason
FROM idle;
