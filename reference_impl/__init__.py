"""A small job queue done right on SQLite and Postgres, its named strategies, and its named defects.

Stands alone: the standard library, and psycopg where a Postgres URL is opened.
"""
