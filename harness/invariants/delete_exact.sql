-- Claim: What is deleted is exactly what was asked for, of what was there and not running; and exactly that many are said to be.
-- Row: a delete_many whose count is less than it had to delete or more than it could (a job that ended may be gone by itself, and of what
--   goes on at the same time nobody knows what came first; who knows a job by its id does not ask for one made later under the same id);
--   that was refused; of which half was done, though its process died in it; or a
--   job that the last status still lists, or no longer does, against that.
-- Severity: violation
-- Needs: delete_many
-- Requires: none
-- Undecidable when: what was there is not known, as an enqueue, submit or claim of unknown outcome went before, or a submit of jobs whose
--   ids nobody read, or a job was seen that nobody is known to have made; or nothing was ever made.
WITH submits AS (
    SELECT schedule, value::VARCHAR AS run, requested, invoked_ns, completed_ns
    FROM operations WHERE kind = 'submit_run' AND outcome = 'ok'
), run_reads AS (
    SELECT schedule, operation, json_object('run', value -> '$.run')::VARCHAR AS run, completed_ns
    FROM operations WHERE kind = 'read_run' AND outcome = 'ok'
), made AS (  -- every time a job, run or action was made, and what it goes with; an id that became free may be given again
    SELECT schedule, job AS thing, invoked_ns AS asked_ns, completed_ns AS made_ns, NULL::VARCHAR AS parent
    FROM handles WHERE kind = 'enqueue' AND outcome = 'ok'
    UNION
    SELECT schedule, run, invoked_ns, completed_ns, NULL FROM submits
    UNION
    SELECT h.schedule, h.job, h.invoked_ns, h.completed_ns, (o.value -> '$.job')::VARCHAR
    FROM handles AS h JOIN operations AS o USING (operation) WHERE h.kind = 'add_actions' AND h.outcome = 'ok'
    UNION  -- a run's jobs are made with it, and known once it was read
    SELECT h.schedule, h.job, coalesce(s.invoked_ns, 0), least(s.completed_ns, min(r.completed_ns)), r.run
    FROM handles AS h
    JOIN run_reads AS r USING (operation)
    ASOF LEFT JOIN submits AS s ON s.schedule = r.schedule AND s.run = r.run AND r.completed_ns >= s.invoked_ns
    GROUP BY h.schedule, h.job, r.run, s.invoked_ns, s.completed_ns
), parents AS (  -- surely, unless it was made with several, or with none as well
    SELECT *, count(*) OVER (PARTITION BY schedule, thing) = 1 AS surely FROM (SELECT DISTINCT schedule, thing, parent FROM made)
), kin AS (  -- a thing with all whose deletion takes it along
    SELECT DISTINCT schedule, thing, thing AS of_thing, true AS surely FROM made
    UNION ALL
    SELECT schedule, thing, parent, surely FROM parents WHERE parent IS NOT NULL
    UNION ALL
    SELECT a.schedule, a.thing, b.parent, a.surely AND b.surely
    FROM parents AS a JOIN parents AS b ON b.schedule = a.schedule AND b.thing = a.parent WHERE b.parent IS NOT NULL
), ends AS (
    SELECT schedule, job, operation, invoked_ns, coalesce(completed_ns, 9223372036854775807) AS completed_ns, outcome
    FROM handles WHERE kind IN ('complete', 'fail') AND outcome <> 'fail' AND accepted
), held AS (  -- perhaps from asked_ns to freed_ns, surely from from_ns to until_ns
    SELECT
        h.schedule, h.job, h.asked_ns, h.from_ns, h.until_ns,
        coalesce(min(e.completed_ns) FILTER (e.outcome = 'ok'), 9223372036854775807) AS freed_ns
    FROM holds AS h LEFT JOIN ends AS e ON e.schedule = h.schedule AND e.job = h.job AND e.invoked_ns >= h.from_ns
    GROUP BY ALL
), busy AS (  -- what must not go while a job is held: the job, its actions, its run
    SELECT h.*, k.thing, k.surely FROM held AS h JOIN kin AS k ON k.schedule = h.schedule AND k.of_thing = h.job
    UNION ALL
    SELECT h.*, p.parent, p.surely FROM held AS h JOIN parents AS p ON p.schedule = h.schedule AND p.thing = h.job AND p.parent IS NOT NULL
), told AS (  -- when a worker was told of a thing
    SELECT schedule, split_part(process, '.', 1) AS worker, job AS thing, completed_ns AS known_ns
    FROM handles WHERE kind NOT IN ('delete_many', 'scan', 'report_progress', 'read_progress') AND outcome = 'ok' AND accepted
), asked AS (  -- a thing that was made after the worker was last told of this id is none it asks for; null: nobody knows by whom it was told
    SELECT d.*, t.known_ns
    FROM (
        SELECT DISTINCT
            d.schedule, d.operation, split_part(d.process, '.', 1) AS worker, d.outcome, d.invoked_ns, d.completed_ns, h.job AS thing
        FROM deletions AS d JOIN handles AS h USING (operation) WHERE d.kind = 'delete_many'
    ) AS d
    ASOF LEFT JOIN told AS t ON t.schedule = d.schedule AND t.worker = d.worker AND t.thing = d.thing AND d.invoked_ns >= t.known_ns
), spared AS (  -- of what was asked: what was running, perhaps or surely
    SELECT a.operation, a.thing, bool_or(b.surely AND b.from_ns <= a.invoked_ns AND b.until_ns >= a.completed_ns) AS surely
    FROM asked AS a
    JOIN busy AS b ON b.schedule = a.schedule AND b.thing = a.thing AND b.asked_ns <= a.completed_ns AND b.freed_ns >= a.invoked_ns
    GROUP BY a.operation, a.thing
), takers AS (  -- of a thing, perhaps or surely
    SELECT
        k.schedule, k.thing, a.operation, a.invoked_ns, a.completed_ns, a.outcome = 'ok' AND k.surely AND s.thing IS NULL AS surely,
        CASE WHEN k.thing = k.of_thing THEN a.known_ns END AS known_ns
    FROM asked AS a
    JOIN kin AS k ON k.schedule = a.schedule AND k.of_thing = a.thing
    LEFT JOIN spared AS s ON s.operation = a.operation AND s.thing = a.thing
    WHERE a.outcome <> 'fail' AND NOT coalesce(s.surely, false)
    UNION ALL
    SELECT m.schedule, m.thing, d.operation, d.invoked_ns, d.completed_ns, false, NULL
    FROM deletions AS d JOIN (SELECT DISTINCT schedule, thing FROM made) AS m USING (schedule)
    WHERE d.kind <> 'delete_many' AND d.outcome <> 'fail'
    UNION ALL
    SELECT k.schedule, k.thing, e.operation, e.invoked_ns, e.completed_ns, false, NULL
    FROM (
        SELECT schedule, job, operation, invoked_ns, completed_ns FROM ends
        UNION ALL
        SELECT schedule, job, operation, invoked_ns, completed_ns FROM handed_out, context WHERE semantics = 'at-most-once'
    ) AS e
    JOIN kin AS k ON k.schedule = e.schedule AND k.of_thing = e.job
), status AS (
    SELECT schedule, operation, invoked_ns, completed_ns FROM operations WHERE kind = 'status_all' AND outcome = 'ok'
    QUALIFY row_number() OVER (PARTITION BY schedule ORDER BY invoked_ns DESC, operation DESC) = 1
), listed AS (
    SELECT h.schedule, h.job AS thing FROM handles AS h JOIN status AS s USING (operation)
), looks AS (  -- when it matters what was there: in a deletion; in the last status; and in all that time, after an unfinished deletion
    SELECT schedule, operation, 'count' AS why, thing, thing AS by_thing, invoked_ns, completed_ns, known_ns FROM asked WHERE outcome = 'ok'
    UNION ALL
    SELECT schedule, s.operation, 'status', m.thing, m.thing, s.invoked_ns, s.completed_ns, NULL
    FROM status AS s JOIN (SELECT DISTINCT schedule, thing FROM made WHERE NOT starts_with(thing, '{')) AS m USING (schedule)
    UNION ALL
    SELECT a.schedule, a.operation, 'half', k.thing, a.thing, a.invoked_ns, s.completed_ns, NULL
    FROM asked AS a
    JOIN kin AS k ON k.schedule = a.schedule AND k.of_thing = a.thing AND k.surely AND NOT starts_with(k.thing, '{')
    JOIN status AS s ON s.schedule = a.schedule AND s.invoked_ns >= a.invoked_ns
    WHERE a.outcome = 'info'
), makings AS (
    SELECT
        l.schedule, l.operation, l.why, l.thing, l.by_thing,
        m.made_ns <= l.invoked_ns AND count(t.operation) FILTER (t.completed_ns >= m.asked_ns AND t.invoked_ns <= l.completed_ns) = 0 AS surely,
        count(t.operation) FILTER (
            t.surely AND coalesce(m.asked_ns <= t.known_ns, true) AND t.invoked_ns >= m.made_ns AND t.completed_ns <= l.invoked_ns
        ) = 0 AS perhaps
    FROM looks AS l
    JOIN made AS m ON m.schedule = l.schedule AND m.thing = l.thing AND m.asked_ns <= coalesce(l.known_ns, l.completed_ns)
    LEFT JOIN takers AS t ON t.schedule = l.schedule AND t.thing = l.thing AND t.operation <> l.operation
    GROUP BY l.schedule, l.operation, l.why, l.thing, l.by_thing, l.invoked_ns, l.completed_ns, m.asked_ns, m.made_ns, m.parent
), there AS (
    SELECT
        m.schedule, m.operation, m.why, m.thing, bool_or(m.surely) AS surely, bool_or(m.perhaps) AS perhaps, count(*) AS times,
        any_value(s.thing) IS NOT NULL AS held, coalesce(bool_or(s.surely), false) AS surely_held
    FROM makings AS m LEFT JOIN spared AS s ON s.operation = m.operation AND s.thing = m.by_thing
    GROUP BY m.schedule, m.operation, m.why, m.thing
), counts AS (
    SELECT
        operation, count(*) FILTER (surely AND NOT held) AS least, count(*) FILTER (perhaps AND NOT surely_held) AS most
    FROM there WHERE why = 'count' GROUP BY operation
), halves AS (
    SELECT t.operation, count(*) AS asked, count(l.thing) AS left_over
    FROM there AS t LEFT JOIN listed AS l USING (schedule, thing)
    WHERE t.why = 'half' AND t.surely AND NOT t.held AND t.times = 1
    GROUP BY t.operation
), doubtful AS (
    SELECT schedule, min(since_ns) AS since_ns
    FROM (
        SELECT schedule, invoked_ns AS since_ns
        FROM operations WHERE kind IN ('enqueue', 'submit_run', 'claim', 'add_actions') AND outcome = 'info'
        UNION ALL
        SELECT s.schedule, s.invoked_ns
        FROM submits AS s LEFT JOIN made AS m ON m.schedule = s.schedule AND m.parent = s.run AND m.asked_ns = s.invoked_ns
        GROUP BY s.schedule, s.run, s.invoked_ns, s.requested HAVING count(m.thing) < s.requested
        UNION ALL
        SELECT schedule, 0 FROM handles AS h ANTI JOIN made AS m ON m.schedule = h.schedule AND m.thing = h.job
        WHERE h.kind IN ('claim', 'status_all') AND h.outcome = 'ok'
    )
    GROUP BY schedule
), rows AS (
    SELECT
        d.schedule, [d.operation] AS operations, d.process, NULL::VARCHAR AS job, 'the count is wrong' AS wrong, d.requested,
        CASE WHEN d.deleted < coalesce(c.least, 0) THEN c.least ELSE coalesce(c.most, 0) END AS expected, d.deleted, NULL::VARCHAR AS error,
        d.completed_ns AS at_ns
    FROM deletions AS d LEFT JOIN counts AS c USING (operation)
    WHERE d.kind = 'delete_many' AND d.outcome = 'ok' AND NOT d.deleted BETWEEN coalesce(c.least, 0) AND coalesce(c.most, 0)
    UNION ALL
    SELECT
        schedule, [operation], process, NULL, 'it was refused', requested, NULL, NULL, error_class || ': ' || error_message, NULL
    FROM deletions
    WHERE kind = 'delete_many' AND outcome <> 'ok' AND error_kind NOT IN ('lock', 'deadlock', 'serialization', 'connection', 'pool')
    UNION ALL
    SELECT
        d.schedule, [h.operation, s.operation], d.process, NULL, 'half of it was deleted', h.asked, 0, h.asked - h.left_over, NULL,
        s.completed_ns
    FROM halves AS h JOIN deletions AS d USING (operation) JOIN status AS s ON s.schedule = d.schedule
    WHERE h.left_over > 0 AND h.left_over < h.asked
    UNION ALL
    SELECT
        t.schedule, [t.operation], NULL, t.thing,
        CASE WHEN l.thing IS NULL THEN 'nobody deleted it, and it is gone' ELSE 'it was deleted, and is still there' END,
        NULL, NULL, NULL, NULL, s.completed_ns
    FROM there AS t JOIN status AS s USING (operation) LEFT JOIN listed AS l ON l.schedule = t.schedule AND l.thing = t.thing
    WHERE t.why = 'status' AND CASE WHEN l.thing IS NULL THEN t.surely ELSE NOT t.perhaps END
)
SELECT
    r.operations, r.process, r.job, r.wrong, r.requested, r.expected, r.deleted, r.error,
    CASE WHEN u.since_ns <= r.at_ns THEN 'something of unknown outcome, or of unknown origin, went before' END AS undecided
FROM rows AS r LEFT JOIN doubtful AS u USING (schedule)
UNION ALL
SELECT []::BIGINT[], NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'nothing was ever made' FROM context WHERE NOT EXISTS (FROM made)
