-- What the text of a statement tells of the tables it touches. One row: whether nothing else than the text decides it, as there is nothing
-- of anybody's own that runs at a statement (functions, operators' too; views, rules, triggers, policies, children, foreign tables), no
-- sequence that two tables share, and none but READ COMMITTED, where a statement sees no more than it reads; and the tables, as pairs of a
-- name and one that a foreign key joins it to, or its own once more.
WITH tables AS (
    SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relhasrules, c.relhassubclass, c.relispartition
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_(catalog|toast)' AND n.nspname NOT IN ('information_schema', 'contend_snapshot')
)
SELECT
    NOT EXISTS (SELECT FROM tables WHERE relkind <> 'r' OR relrowsecurity OR relhasrules OR relhassubclass OR relispartition OR relname !~ '^[a-z0-9_]+$')
    AND NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace))
    AND NOT EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal)
    AND NOT EXISTS (SELECT FROM pg_inherits AS i JOIN tables AS t ON t.oid = i.inhparent)
    AND NOT EXISTS (
        SELECT FROM pg_depend AS used
        JOIN pg_attrdef AS d ON used.classid = 'pg_attrdef'::regclass AND used.objid = d.oid
        JOIN pg_class AS s ON used.refclassid = 'pg_class'::regclass AND used.refobjid = s.oid AND s.relkind = 'S'
        WHERE NOT EXISTS (
            SELECT FROM pg_depend AS owned
            WHERE owned.classid = 'pg_class'::regclass AND owned.objid = s.oid AND owned.refclassid = 'pg_class'::regclass
                AND owned.refobjid = d.adrelid AND owned.deptype IN ('a', 'i')
        )
    )
    AND current_setting('default_transaction_isolation') = 'read committed',
    (
        SELECT coalesce(array_agg(ARRAY[one, other]), '{}')
        FROM (
            SELECT relname::text AS one, relname::text AS other FROM tables
            UNION SELECT a.relname, b.relname
            FROM pg_constraint AS k JOIN tables AS a ON a.oid = k.conrelid JOIN tables AS b ON b.oid = k.confrelid
            WHERE k.contype = 'f'
        ) AS pairs
    )
