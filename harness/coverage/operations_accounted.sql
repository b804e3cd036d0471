-- operations-accounted: every operation begun has an outcome, unless its process was killed on purpose.
-- Remedy: Raise the time limit or look into logs/ of the result.
SELECT count(*) = 0 AS present,
       count(*) || ' operations never came back, the first a ' || min_by(kind, operation) || ' of ' || min_by(process, operation) || '.' AS reason
FROM operations
WHERE completed_ns IS NULL
  AND split_part(process, '.', 1) NOT IN (SELECT job ->> '$' FROM handles WHERE kind = 'kill');
