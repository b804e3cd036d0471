-- The server's clock, for sessions of this database that begin from now on: functions that stand in the search path before those of
-- pg_catalog, and are as far ahead as the one row says.
DO $$ BEGIN
  EXECUTE format('ALTER DATABASE %I SET search_path = "$user", public, contend_clock, pg_catalog', current_database());
END $$;
CREATE SCHEMA contend_clock;
CREATE TABLE contend_clock.moved (ahead interval NOT NULL);
INSERT INTO contend_clock.moved VALUES ('0');
CREATE FUNCTION contend_clock.now() RETURNS timestamptz LANGUAGE sql STABLE
  RETURN pg_catalog.now() + (SELECT ahead FROM contend_clock.moved);
CREATE FUNCTION contend_clock.transaction_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
  RETURN pg_catalog.transaction_timestamp() + (SELECT ahead FROM contend_clock.moved);
CREATE FUNCTION contend_clock.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
  RETURN pg_catalog.statement_timestamp() + (SELECT ahead FROM contend_clock.moved);
CREATE FUNCTION contend_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
  RETURN pg_catalog.clock_timestamp() + (SELECT ahead FROM contend_clock.moved);
GRANT USAGE ON SCHEMA contend_clock TO PUBLIC;
GRANT SELECT, UPDATE ON contend_clock.moved TO PUBLIC;
