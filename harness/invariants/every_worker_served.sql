-- Claim: Every worker gets work.
-- Row: a worker that got no job while others did. `operations` are its first and last claim, if it made any.
-- Severity: warning
-- Needs: claim
-- Requires: none
-- Undecidable when: never.
WITH served AS (
    SELECT
        p.schedule, p.process, coalesce(sum(c.returned), 0) AS jobs, count(c.operation) AS claims,
        min(c.operation) AS first_claim, max(c.operation) AS last_claim
    FROM processes AS p LEFT JOIN claims AS c ON c.schedule = p.schedule AND c.process = p.process
    WHERE p.role = 'worker'
    GROUP BY ALL
), shares AS (
    SELECT *, sum(jobs) OVER (PARTITION BY schedule) AS jobs_of_all FROM served
)
SELECT
    list_distinct(list_filter([first_claim, last_claim], lambda n: n IS NOT NULL)) AS operations,
    process, claims, jobs_of_all::BIGINT AS jobs_of_all
FROM shares
WHERE jobs = 0 AND jobs_of_all > 0
