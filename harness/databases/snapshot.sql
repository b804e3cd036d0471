-- The text that remembers the rows of every table in a schema of its own, and the text that puts them and the sequences back. The second
-- takes no more than one round trip. Foreign keys and triggers are not asked while rows are put back: they were there before.
WITH tables AS (
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, 't' || row_number() OVER (ORDER BY c.oid) AS copy,
        (
            SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum)
            FROM pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        ) AS columns
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'contend_snapshot')
), sequences AS (
    SELECT format('%I.%I', schemaname, sequencename) AS name, last_value, start_value FROM pg_sequences WHERE schemaname !~ '^pg_'
)
SELECT
    'CREATE SCHEMA contend_snapshot; '
    || coalesce((SELECT string_agg(format('CREATE TABLE contend_snapshot.%s AS SELECT %s FROM ONLY %s', copy, columns, name), '; ') FROM tables), ''),
    'BEGIN; SET LOCAL lock_timeout = ''2s''; '
    || coalesce((SELECT string_agg(format('DELETE FROM ONLY %s; INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM contend_snapshot.%s',
        name, name, columns, columns, copy), '; ') || '; ' FROM tables WHERE columns IS NOT NULL), '')
    || coalesce((SELECT 'SELECT ' || string_agg(format('setval(%L, %s, %L)', name, coalesce(last_value, start_value), last_value IS NOT NULL), ', ')
        || '; ' FROM sequences), '')
    || 'COMMIT'
