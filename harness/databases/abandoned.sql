-- Databases a contend left on this server when it was killed: made by this role, named after a session that has ended
-- (contend_<its pid>_<its start in microseconds>_<number>), with nobody connected.
SELECT d.datname
FROM pg_database AS d
JOIN pg_roles AS r ON r.oid = d.datdba
WHERE d.datname ~ '^contend_[0-9]+_[0-9]+_[0-9]+$'
  AND r.rolname = current_user
  AND NOT EXISTS (
    SELECT FROM pg_stat_activity AS a
    WHERE a.datname = d.datname
       OR starts_with(d.datname, format('contend_%s_%s_', a.pid, (extract(epoch FROM a.backend_start) * 1e6)::bigint))
  )
