-- rounds-completed: every batch size was claimed in full.
-- Remedy: Look at the errors of the claims in the result.
SELECT count(*) FILTER (WHERE coalesce(returned, 0) < requested) = 0 AND count(*) > 1 AS present,
       CASE WHEN count(*) <= 1 THEN 'Fewer than two batch sizes were claimed.'
            ELSE 'Batches claimed only in part: ' || string_agg(requested::VARCHAR, ', ') FILTER (WHERE coalesce(returned, 0) < requested) || '.'
       END AS reason
FROM operations WHERE kind = 'round';
