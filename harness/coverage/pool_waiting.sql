-- Who waited for a connection and who had one, over time: `ms` from the first acquisition, a row for the most of each of 400 stretches, and
-- one for how it ended where that was less. Who got one within a millisecond did not wait.
WITH worker AS (
  SELECT DISTINCT split_part(process, '.', 1) AS process FROM operations WHERE kind = 'scan'
), own AS (
  SELECT a.* FROM acquisitions a JOIN worker USING (process)
), moments AS (
  SELECT asked_ns AS at_ns, CASE WHEN ended_ns - asked_ns > 1000000 THEN 1 ELSE 0 END AS waits, 0 AS uses FROM own
  UNION ALL
  SELECT ended_ns, CASE WHEN ended_ns - asked_ns > 1000000 THEN -1 ELSE 0 END, CASE WHEN got_ns IS NULL THEN 0 ELSE 1 END FROM own
  UNION ALL
  SELECT returned_ns, 0, -1 FROM own WHERE returned_ns IS NOT NULL
), counted AS (
  SELECT at_ns, sum(sum(waits)) OVER (ORDER BY at_ns) AS waiting, sum(sum(uses)) OVER (ORDER BY at_ns) AS in_use
  FROM moments GROUP BY at_ns
), span AS (
  SELECT min(at_ns) AS from_ns, max(at_ns) AS until_ns FROM counted
), placed AS (
  SELECT *, floor((at_ns - from_ns) * 400.0 / greatest(until_ns - from_ns, 1)) / 400.0 * (until_ns - from_ns) AS begin_ns
  FROM counted, span
)
SELECT round(begin_ns / 1e6, 3) AS ms, max(waiting)::BIGINT AS waiting, max(in_use)::BIGINT AS in_use
FROM placed GROUP BY begin_ns
UNION ALL
SELECT round((max(at_ns) - any_value(from_ns)) / 1e6, 3), max_by(waiting, at_ns)::BIGINT, max_by(in_use, at_ns)::BIGINT
FROM placed GROUP BY begin_ns
HAVING max_by(waiting, at_ns) < max(waiting) OR max_by(in_use, at_ns) < max(in_use)
ORDER BY 1, 2 DESC, 3 DESC;
