-- Claim: A claim hands out no more jobs than it was asked for, and none beyond those that may be running at once.
-- Row: a claim that returned more jobs than its limit; or one that returned a job while, with it, more than `most_running` of the run were
--   certainly in workers' hands: `held` of them, by the claims named.
-- Severity: violation
-- Needs: claim
-- Requires: none
-- Undecidable when: never.
SELECT [operation] AS operations, process, requested, returned, NULL::BIGINT AS most_running, NULL::BIGINT AS held
FROM claims
WHERE outcome = 'ok' AND returned > requested
UNION ALL
SELECT list_sort(list(DISTINCT h.operation)), c.process, NULL, NULL, x.most_running, count(*)
FROM (SELECT most_running FROM context WHERE most_running IS NOT NULL) AS x
CROSS JOIN (SELECT DISTINCT schedule, operation, process, from_ns FROM holds WHERE until_ns > from_ns) AS c
JOIN holds AS h ON h.schedule = c.schedule AND h.from_ns <= c.from_ns AND h.until_ns > c.from_ns
GROUP BY c.operation, c.process, x.most_running
HAVING count(*) > x.most_running
