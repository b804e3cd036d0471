-- claims-overlapped: claims of different workers overlapped in time, so that they could have got in each other's way.
-- Remedy: Raise --workers to 2 or more and --jobs, and look for a lock or a pool of one connection that lets one worker in at a time.
WITH claims_in_order AS (
  SELECT invoked_ns, completed_ns,
         max(completed_ns) OVER (ORDER BY invoked_ns, operation ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS others_until_ns,
         -- operations of another machine seem longer by what is not known of its clock: an overlap must be longer than that
         coalesce((SELECT max(value::BIGINT) FROM operations WHERE kind = 'clock'), 0) AS unsure_ns
  FROM operations
  WHERE kind = 'claim' AND phase = 'main' AND completed_ns IS NOT NULL AND outcome = 'ok'
)
SELECT count(*) FILTER (WHERE others_until_ns - invoked_ns > 2 * unsure_ns) > 0 AS present,
       'Of ' || count(*) || ' claims none overlapped a claim of another worker: nothing contended.' AS reason
FROM claims_in_order;
