-- jobs-at-once: several jobs were worked on at the same time.
-- Remedy: Raise --workers or --batch.
WITH scans_in_order AS (
  SELECT invoked_ns,
         max(coalesce(completed_ns, 9223372036854775807)) OVER (ORDER BY invoked_ns, operation ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS others_until_ns
  FROM operations WHERE kind = 'scan' AND phase = 'main'
)
SELECT count(*) FILTER (WHERE others_until_ns > invoked_ns) > 0 AS present,
       'Of ' || count(*) || ' jobs none was worked on while another was.' AS reason
FROM scans_in_order;
