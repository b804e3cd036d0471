-- How far the screen was behind, one row for each share of its reads: `ms` since the first change it did not show yet (0: it showed all)
-- that so large a share of the reads stayed below.
-- Of jobs whose worker was killed only the reads before that.
WITH deaths AS (
  SELECT job ->> '$' AS worker, min(invoked_ns) AS died_ns FROM handles WHERE kind = 'kill' AND outcome = 'ok' GROUP BY 1
), told AS (
  SELECT h.job, split_part(h.process, '.', 1) AS worker, h.completed_ns, o.value::DOUBLE AS fraction
  FROM handles h JOIN operations o USING (operation) WHERE h.kind = 'report_progress' AND h.outcome = 'ok'
), read AS (
  SELECT h.job, h.operation, h.invoked_ns, coalesce(o.value::DOUBLE, -1) AS shown
  FROM handles h JOIN operations o USING (operation) WHERE h.kind = 'read_progress' AND h.outcome = 'ok' AND h.phase = 'main'
), ended AS (  -- what a screen shows of a job that has ended is the business of progress-final
  SELECT job, min(invoked_ns) AS ended_ns FROM handles WHERE kind IN ('complete', 'fail') GROUP BY job
), behind AS (
  SELECT r.operation, coalesce(max(r.invoked_ns - t.completed_ns) / 1e6, 0) AS ms
  FROM read r
  LEFT JOIN told t ON t.job = r.job AND t.completed_ns <= r.invoked_ns AND t.fraction > r.shown + 1e-6
  LEFT JOIN ended e ON e.job = r.job
  WHERE (e.ended_ns IS NULL OR r.invoked_ns < e.ended_ns)
    AND NOT EXISTS (SELECT 1 FROM told x JOIN deaths d USING (worker) WHERE x.job = r.job AND r.invoked_ns >= d.died_ns)
  GROUP BY r.operation
)
SELECT unnest([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0]::DOUBLE[]) AS share,
       unnest(quantile_cont(ms, [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0])) AS ms
FROM behind HAVING count(*) > 0;
