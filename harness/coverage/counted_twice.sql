-- Counts of the main phase that should not vary, each counted twice: over every other claim, and over the claims between.
-- A statement that a lock refused is contention, which varies, and is not counted. `varies` says
-- that not every claim cost the same, so that two equal means would be luck.
WITH claims_done AS (
  SELECT operation, row_number() OVER (ORDER BY operation) % 2 AS half
  FROM operations
  WHERE kind = 'claim' AND phase = 'main' AND outcome = 'ok' AND returned > 0
), spent AS (
  SELECT c.operation, any_value(c.half) AS half,
         count(s.shape) FILTER (WHERE s.kind IN ('read', 'write')) AS statements,
         count(s.shape) FILTER (WHERE s.commits) AS transactions,
         coalesce(sum(s.trips), 0) AS trips
  FROM claims_done c LEFT JOIN statements s ON s.operation = c.operation AND s.error_kind IS NULL
  GROUP BY c.operation
)
SELECT 'statements_per_claim' AS name, 'statements' AS unit, min(statements) <> max(statements) AS varies,
       avg(statements) FILTER (half = 1) AS first, avg(statements) FILTER (half = 0) AS second
FROM spent WHERE (SELECT count(*) FROM statements) > 0
UNION ALL
SELECT 'transactions_per_claim', 'transactions', min(transactions) <> max(transactions),
       avg(transactions) FILTER (half = 1), avg(transactions) FILTER (half = 0)
FROM spent WHERE (SELECT count(*) FROM statements) > 0
UNION ALL
SELECT 'round_trips_per_claim', 'round trips', min(trips) <> max(trips),
       avg(trips) FILTER (half = 1), avg(trips) FILTER (half = 0)
FROM spent WHERE (SELECT sum(trips) FROM statements) > 0;
