-- How long a read of the status took beside clean-ups, one row for each share of the reads: `ms` that so large a share stayed below.
SELECT unnest([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0]::DOUBLE[]) AS share,
       unnest(quantile_cont((completed_ns - invoked_ns) / 1e6, [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0])) AS ms
FROM operations
WHERE kind = 'status_all' AND phase = 'main' AND outcome = 'ok'
  AND (SELECT count(*) FROM operations WHERE kind IN ('clean_by_tag', 'wipe_all')) > 0
HAVING count(*) > 0;
