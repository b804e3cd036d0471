-- processes-ended: every process that was not killed on purpose ended as it meant to.
-- Remedy: Look into logs/ of the result for what it printed.
SELECT count(*) = 0 AS present,
       string_agg(process || ' ' || coalesce(ended, 'never said how it ended'), '; ' ORDER BY process) || '.' AS reason
FROM processes
WHERE role <> 'nemesis'
  AND coalesce(ended, '') <> 'done'
  AND split_part(process, '.', 1) NOT IN (SELECT job ->> '$' FROM handles WHERE kind = 'kill');
