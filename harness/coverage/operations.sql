-- The operations of these numbers with the jobs they named; times in ms from the first invocation of the history.
SELECT o.operation, o.process, o.kind, o.phase,
       (o.invoked_ns - (SELECT min(invoked_ns) FROM operations WHERE phase = 'main')) / 1e6 AS invoked_ms,
       (o.completed_ns - (SELECT min(invoked_ns) FROM operations WHERE phase = 'main')) / 1e6 AS completed_ms,
       o.outcome, o.requested, o.returned,
       coalesce(list(h.job ORDER BY h.position) FILTER (WHERE h.job IS NOT NULL), [])[:20] AS jobs,
       coalesce(list(h.token ORDER BY h.position) FILTER (WHERE h.job IS NOT NULL), [])[:20] AS tokens,
       o.error_class, o.error_code, o.error_message
FROM operations o LEFT JOIN handles h USING (schedule, operation)
WHERE o.operation IN (SELECT unnest($numbers::BIGINT[]))
GROUP BY ALL
ORDER BY o.operation;
