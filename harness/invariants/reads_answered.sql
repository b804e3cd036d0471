-- Claim: Every read is answered, whatever goes on beside it.
-- Row: a read (status_all, read_run, read_progress) that ended with an error, unless it was the first thing to be done after somebody had
--   cut the reader's connection.
-- Severity: violation
-- Needs: none
-- Requires: none
-- Undecidable when: nothing was read.
SELECT [operation] AS operations, process, kind, outcome, error_class, error_code, error_message, NULL AS undecided
FROM operations AS o
WHERE kind IN ('status_all', 'read_run', 'read_progress') AND outcome <> 'ok' AND completed_ns IS NOT NULL
    AND error_kind IS DISTINCT FROM 'malformed'  -- an answer against the contract makes a run inconclusive, whatever was asked
    AND NOT EXISTS (
        FROM handles AS c
        WHERE c.schedule = o.schedule AND c.kind = 'cut' AND json_extract_string(c.job, '$') = split_part(o.process, '.', 1)
            AND c.invoked_ns <= o.completed_ns
            AND NOT EXISTS (
                FROM operations AS k
                WHERE k.schedule = o.schedule AND k.process = o.process AND k.outcome = 'ok'
                    AND k.invoked_ns >= c.invoked_ns AND k.completed_ns <= o.invoked_ns
            )
    )
UNION ALL
SELECT []::BIGINT[], NULL, NULL, NULL, NULL, NULL, NULL, 'nothing was read'
FROM context
WHERE NOT EXISTS (FROM operations WHERE kind IN ('status_all', 'read_run', 'read_progress'))
