-- change-stood: a change of progress stood for half a second or more, and was looked for meanwhile.
-- Remedy: Raise the option think_seconds well above flush_interval.
WITH told AS (
  SELECT h.job, o.completed_ns,
         lead(o.invoked_ns) OVER (PARTITION BY h.job ORDER BY o.invoked_ns) AS next_ns
  FROM operations o JOIN handles h USING (operation) WHERE o.kind = 'report_progress' AND o.outcome = 'ok'
), stood AS (
  SELECT * FROM told WHERE next_ns - completed_ns >= 500000000
)
SELECT count(*) > 0 AS present,
       coalesce((SELECT 'Of ' || count(*) || ' reports of progress none succeeded; the first said: '
                        || min_by(error_class || ': ' || error_message, invoked_ns)
                 FROM operations WHERE kind = 'report_progress' HAVING count(*) > 0 AND count(*) FILTER (outcome = 'ok') = 0),
                'No change of progress stood for half a second while somebody looked for it') || '.' AS reason
FROM stood s
WHERE EXISTS (SELECT 1 FROM handles r WHERE r.kind = 'read_progress' AND r.outcome = 'ok' AND r.job = s.job
              AND r.invoked_ns > s.completed_ns AND r.completed_ns < s.next_ns);
