-- What one history covered, one row: the numbers a pass states.
WITH claims_in_order AS (
  SELECT invoked_ns, completed_ns, returned,
         max(completed_ns) OVER (ORDER BY invoked_ns, operation ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS others_until_ns,
         -- operations of another machine seem longer by what is not known of its clock: an overlap must be longer than that
         coalesce((SELECT max(value::BIGINT) FROM operations WHERE kind = 'clock'), 0) AS unsure_ns
  FROM operations
  WHERE kind = 'claim' AND phase = 'main' AND completed_ns IS NOT NULL AND outcome = 'ok'
)
SELECT (SELECT count(*) FROM operations) AS operations,
       (SELECT count(*) FROM processes WHERE role = 'worker') AS workers,
       (SELECT count(*) FROM claims_in_order) AS claims,
       (SELECT count(*) FILTER (WHERE others_until_ns - invoked_ns > 2 * unsure_ns) FROM claims_in_order) AS overlapping_claims,
       (SELECT count(DISTINCT job) FROM handles WHERE kind = 'enqueue' AND outcome = 'ok') AS jobs,
       (SELECT count(*) FROM statements WHERE kind IN ('read', 'write')) AS statements,
       (SELECT count(*) FROM operations WHERE kind = 'open') AS opens,
       (SELECT count(*) FROM operations WHERE kind = 'scan') AS scans,
       (SELECT count(*) FROM operations WHERE kind = 'report_progress') AS reports,
       (SELECT count(*) FROM operations WHERE kind IN ('read_progress', 'read_run', 'status_all') AND outcome = 'ok') AS reads,
       (SELECT count(*) FROM operations WHERE kind IN ('delete_many', 'clean_by_tag', 'wipe_all')) AS deletions,
       (SELECT count(*) FROM operations WHERE kind = 'submit_run') AS submits,
       (SELECT count(*) FROM acquisitions) AS acquisitions,
       (SELECT count(*) FROM operations WHERE kind = 'kill' AND outcome = 'ok') AS kills,
       (SELECT count(*) FROM operations WHERE process = 'nemesis' AND value ->> '$.fault' IS NOT NULL AND completed_ns IS NOT NULL) AS faults;
