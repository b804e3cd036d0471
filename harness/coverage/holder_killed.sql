-- holder-killed: the process that was let in was killed, so that the next could be seen to follow.
-- Remedy: Look at the errors of the opens in the result: perhaps nobody was let in.
SELECT count(*) > 0 AS present, 'No process was let in and then killed.' AS reason
FROM operations WHERE kind = 'kill' AND completed_ns IS NOT NULL;
