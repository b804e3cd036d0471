-- The faults of a run, one row each: which, done to whom (empty: to everybody's database), from when to when, in seconds of the run.
WITH began AS (SELECT min(invoked_ns) AS ns FROM operations WHERE phase = 'main')
SELECT o.value ->> '$.fault' AS fault, list(h.job ->> '$' ORDER BY h.position) FILTER (h.job IS NOT NULL) AS workers,
       round((o.invoked_ns - b.ns) / 1e9, 4) AS from_seconds, round((o.completed_ns - b.ns) / 1e9, 4) AS until_seconds
FROM operations o CROSS JOIN began b LEFT JOIN handles h USING (operation)
WHERE o.process = 'nemesis' AND o.value ->> '$.fault' IS NOT NULL
GROUP BY o.operation, o.value, o.invoked_ns, o.completed_ns, b.ns
ORDER BY o.invoked_ns;
