-- Claim: A single-worker file admits one process at a time.
-- Row: two processes that were both certainly admitted at one moment: each from the time its `open` had returned until its `close`
--   was invoked, it ended, or somebody set out to kill it; a process that did neither, until the last thing it recorded.
-- Severity: violation
-- Needs: open
-- Requires: none
-- Undecidable when: no open was admitted.
WITH entered AS (
    SELECT schedule, operation, process, invoked_ns, completed_ns FROM operations WHERE kind = 'open' AND outcome = 'ok'
), last_sign AS (
    SELECT schedule, process, max(coalesce(completed_ns, invoked_ns)) AS seen_ns
    FROM operations SEMI JOIN entered USING (schedule, process) GROUP BY ALL
), admitted AS (
    SELECT
        e.schedule, e.operation, e.process, e.completed_ns AS from_ns,
        coalesce(least(min(c.invoked_ns), any_value(d.died_ns)), any_value(l.seen_ns)) AS until_ns
    FROM entered AS e
    JOIN last_sign AS l USING (schedule, process)
    LEFT JOIN operations AS c ON c.kind = 'close' AND c.schedule = e.schedule AND c.process = e.process
        AND c.invoked_ns >= e.completed_ns
    LEFT JOIN deaths AS d ON d.schedule = e.schedule AND d.process = e.process
    GROUP BY ALL
)
SELECT
    list_sort([a.operation, b.operation]) AS operations, a.process, b.process AS other_process,
    least(a.until_ns, b.until_ns) - greatest(a.from_ns, b.from_ns) AS together_ns,
    NULL::VARCHAR AS undecided
FROM admitted AS a
JOIN admitted AS b ON a.schedule = b.schedule AND a.process < b.process
    AND greatest(a.from_ns, b.from_ns) < least(a.until_ns, b.until_ns)
UNION ALL
SELECT list(operation ORDER BY operation), NULL, NULL, NULL, 'no open was admitted'
FROM operations
WHERE kind = 'open' AND NOT EXISTS (FROM entered)
HAVING count(*) > 0
