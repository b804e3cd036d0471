-- submits-read: somebody read runs while one was being submitted.
-- Remedy: Raise --batch, so that a submit takes longer, or the option seconds.
SELECT count(*) FILTER (WHERE EXISTS (
         SELECT 1 FROM operations r
         WHERE r.kind IN ('read_run', 'status_all') AND r.outcome = 'ok' AND r.invoked_ns < s.completed_ns AND r.completed_ns > s.invoked_ns
       )) > 0 AS present,
       'Of ' || count(*) || ' submits none was going on while somebody read.' AS reason
FROM operations s WHERE s.kind = 'submit_run' AND s.phase = 'main' AND s.completed_ns IS NOT NULL;
