-- What a session of ours finds set otherwise than the server has it: for its database, its role, or both.
SELECT name, current_setting(name)
FROM pg_settings
WHERE source IN ('global', 'database', 'user', 'database user') AND context = 'user'
ORDER BY name
