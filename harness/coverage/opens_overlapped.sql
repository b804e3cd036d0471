-- opens-overlapped: processes tried to open the file while others were trying.
-- Remedy: Raise --workers.
WITH opens AS (
  SELECT invoked_ns, completed_ns,
         max(completed_ns) OVER (ORDER BY invoked_ns, operation ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS others_until_ns
  FROM operations WHERE kind = 'open' AND phase = 'main' AND completed_ns IS NOT NULL
)
SELECT count(*) FILTER (WHERE others_until_ns > invoked_ns) > 0 AS present,
       'Of ' || count(*) || ' attempts to open none overlapped another.' AS reason
FROM opens;
