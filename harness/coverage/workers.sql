-- One row a worker: what it did and what it got. Percentiles hide starvation; this does not.
SELECT p.process, any_value(p.pid) AS pid,
       count(o.operation) FILTER (WHERE o.kind = 'claim') AS claims,
       coalesce(sum(o.returned) FILTER (WHERE o.kind = 'claim' AND o.outcome = 'ok'), 0)::BIGINT AS jobs,
       count(o.operation) FILTER (WHERE o.kind = 'claim' AND o.outcome = 'ok' AND o.returned = 0) AS empty,
       count(o.operation) FILTER (WHERE o.outcome <> 'ok') AS errors
FROM processes p LEFT JOIN operations o ON o.process = p.process AND o.phase = 'main'
WHERE p.role = 'worker'
GROUP BY p.process
ORDER BY length(p.process), p.process;
