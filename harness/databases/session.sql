-- Who we are on this server: what our databases are named after, and whether we may make any.
SELECT
  format('contend_%s_%s_', a.pid, (extract(epoch FROM a.backend_start) * 1e6)::bigint) AS prefix,
  r.rolsuper OR r.rolcreatedb AS may_create
FROM pg_stat_activity AS a
CROSS JOIN pg_roles AS r
WHERE a.pid = pg_backend_pid() AND r.rolname = current_user
