-- Claim: Every read is answered, whatever goes on beside it.
-- Row: a read (status_all, read_run, read_progress) that ended with an error.
-- Severity: violation
-- Needs: none
-- Requires: none
-- Undecidable when: nothing was read.
SELECT [operation] AS operations, process, kind, outcome, error_class, error_code, error_message, NULL AS undecided
FROM operations
WHERE kind IN ('status_all', 'read_run', 'read_progress') AND outcome <> 'ok' AND completed_ns IS NOT NULL
    AND error_kind IS DISTINCT FROM 'malformed'  -- an answer against the contract makes a run inconclusive, whatever was asked
UNION ALL
SELECT []::BIGINT[], NULL, NULL, NULL, NULL, NULL, NULL, 'nothing was read'
FROM context
WHERE NOT EXISTS (FROM operations WHERE kind IN ('status_all', 'read_run', 'read_progress'))
