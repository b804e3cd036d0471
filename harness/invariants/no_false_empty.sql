-- Claim: A claim comes back empty only if no job was free to be claimed.
-- Row: an empty claim, and a job that was free from before the claim was invoked until after it had returned (`free_jobs` says when
--   that is certain). Claims that overlap a failed or unknown claim are left out (`undisturbed_claims`).
-- Severity: violation
-- Needs: enqueue, claim
-- Requires: no-limit, asked
-- Undecidable when: never; what is not certain is no row.
WITH lasting AS (  -- the jobs that stay free longer than any that became free before: the last one by some time lasts longest
    SELECT schedule, job, operation, start_ns, until_ns
    FROM free_jobs
    QUALIFY until_ns = max(until_ns) OVER (PARTITION BY schedule ORDER BY start_ns)
)
SELECT
    list_sort([c.operation, f.operation]) AS operations,
    f.job, c.process, c.invoked_ns - f.start_ns AS waiting_ns
FROM (SELECT * FROM undisturbed_claims WHERE returned = 0) AS c
ASOF JOIN lasting AS f ON c.schedule = f.schedule AND c.invoked_ns > f.start_ns
WHERE f.until_ns > c.completed_ns
