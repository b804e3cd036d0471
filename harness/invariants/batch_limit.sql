-- Claim: A claim hands out no more jobs than it was asked for.
-- Row: a claim that returned more jobs than its limit.
-- Severity: violation
-- Needs: claim
-- Requires: none
-- Undecidable when: never.
SELECT [operation] AS operations, process, requested, returned
FROM claims
WHERE outcome = 'ok' AND returned > requested
