-- One row a batch size: what the witness counted inside the round that claimed it.
SELECT r.requested AS batch, r.returned AS jobs,
       count(s.shape) FILTER (WHERE s.kind IN ('read', 'write')) AS statements,
       count(s.shape) FILTER (WHERE s.commits) AS transactions,
       coalesce(sum(s.trips), 0)::BIGINT AS round_trips,
       (SELECT count(*) FROM acquisitions a
        WHERE a.process = r.process AND a.asked_ns >= r.invoked_ns AND a.asked_ns <= r.completed_ns) AS acquisitions,
       (SELECT count(*) FROM operations c
        WHERE c.kind = 'claim' AND c.process = r.process AND c.invoked_ns >= r.invoked_ns AND c.completed_ns <= r.completed_ns) AS claims
FROM operations r
LEFT JOIN statements s ON s.process = r.process AND s.started_ns >= r.invoked_ns AND s.started_ns <= r.completed_ns
WHERE r.kind = 'round' AND r.outcome = 'ok'
GROUP BY r.operation, r.process, r.requested, r.returned, r.invoked_ns, r.completed_ns
ORDER BY r.requested;
