"""The history: every operation of every process, in order, beside every statement the database saw.

A process appends *events* to its own NDJSON file with `write(2)`; the witness does the same with *statements*. `merging`
turns the files of one run into five Parquet tables on one monotonic clock, which invariants, reports and any DuckDB can read.
This page is the definition of both: the shape of an event and the columns of the tables.

Events (one JSON object a line, in `events/<process>.ndjson`; times are CLOCK_MONOTONIC nanoseconds):

    {"e":"process","process":"w0","role":"worker","pid":4711,"t":1}                    the process is alive
    {"e":"invoke","op":1,"kind":"claim","phase":"main","t":10,"requested":10}          what it is about to do
    {"e":"ok","op":1,"t":20,"jobs":[7,8],"tokens":[1,1],"attempts":[1,1]}              it happened, with this answer
    {"e":"fail"|"info","op":1,"t":20,"error":{"kind":"lock","class":"sqlite3.OperationalError","code":"SQLITE_BUSY","message":"…"}}
    {"e":"end","t":30,"how":"done"}                                                    the process ended as it meant to

`op` counts from 1 within its process. An `invoke` may carry `jobs`, `tokens`, `priorities` (what the operation names: the
handles completed, the priorities enqueued); an `ok` may carry `jobs`, `tokens`, `attempts` (what came back) and `accepted` (for
complete, fail, heartbeat: the positions of the handles that were accepted; absent means all). Absent lists are empty;
a token or attempt a system does not offer is null. `value` may carry any other JSON answer, `returned` a count where there is no
list (the jobs a `round` obtained). The file's name is the process; its `process` line is optional and says the same name.
Every event and statement may carry `schedule` (absent: 0). A file's last line may be torn, by a SIGKILL; no other line may.

A job in a list is the system's id for it. Where a list names other things (delete_many, add_actions), a run is {"run": id} and an
action {"action": id}. `value` of a report_progress or read_progress is the fraction; of a submit_run {"run": id}; of a read_run
{"run": id, "jobs": how many, or null where there is no such run}; of an add_actions {"job": id}; of a delete_many {"kind": …,
"deleted": n}; of a clean_by_tag or wipe_all the rows deleted by kind; of a status_all, whose `jobs` are those listed,
{"runs": [{"run": id, "jobs": how many of its jobs were listed, "listed": whether it was itself}]}.

A process named `w0.3` is a thread of `w0`: it has the same system and the same connections, and what the witness sees is of `w0`.

Some kinds are not calls of the system: a `round` encloses the operations of one measured batch and owns no statement; a `scan` encloses
the work on one job, its `jobs`, and owns none either; a `kill`, by process `nemesis`, names the processes it killed as its `jobs`; a
`clock`, by process `clocks`, has as its `value` how many nanoseconds operations of users on other machines may seem longer than they
were; a `hold`, by process `neighbour`, is a time in which another writer had the write lock; a `cut`, by `nemesis`, names
the processes whose connections it cut; a `wait` is time that passed for the whole run, its `value` in seconds. Of a system that runs a
loop of its own a `claim` lasts until its loop hands a job over, a `complete` lets it go on, and a `halt` tells it to stop.
`open` and `close` are a worker entering and
leaving a guarded file.

Statements (in `witness/*.ndjson`), one a line, written when the statement ends:

    {"process":"w0","connection":1,"t0":12,"t1":15,"kind":"write","shape":"UPDATE jobs SET …","trips":1,"commits":true,
     "error":{"kind":"lock","code":"SQLITE_BUSY"}}

`kind` is connect, begin, read, write, commit, rollback or other (SET, PRAGMA, DDL …); `shape` is the SQL with its literals replaced by `?`
and lists of them folded into `(…)`. `trips` is 1 where the statement opened a new network round trip, else 0 (always 0 on
SQLite, which is in-process). `commits` is true where the database committed a transaction with this statement (a COMMIT, or a
statement outside any transaction). `error` is absent where it succeeded.

Acquisitions of pooled connections (in `pools/*.ndjson`), a line when it is got or refused, and one when it is given back:

    {"process":"w0","n":1,"pool":1,"size":2,"asked":12,"got":15,"ended":15,"error":null}      error: timeout or other, where nothing was got
    {"process":"w0","n":1,"returned":19}

`n` counts within the process, `size` is how many connections the pool may hold (null: no bound is known).
"""

from __future__ import annotations

from typing import Final, Literal

Phase = Literal["setup", "main", "quiet"]
StatementKind = Literal["connect", "begin", "read", "write", "commit", "rollback", "other"]

# Column → DuckDB type. `job` and `token` hold JSON text, so 7 and "7" stay different and nothing is lost.
OPERATIONS: Final[dict[str, str]] = {
    "schedule": "INTEGER",  # 0 in a race; the number of the interleaving in an exploration
    "operation": "BIGINT",  # unique within the history, numbered from 1 in order of invocation
    "process": "VARCHAR",  # setup, w0, w1, …, quiet
    "kind": "VARCHAR",  # enqueue, claim, complete, …
    "phase": "VARCHAR",
    "invoked_ns": "BIGINT",
    "completed_ns": "BIGINT",  # null where the process never came back
    "outcome": "VARCHAR",  # ok, fail, info
    "requested": "BIGINT",  # the limit of a claim; the number of jobs or handles given to any other operation
    "returned": "BIGINT",  # the number of jobs in the answer; null unless ok
    "error_kind": "VARCHAR",
    "error_class": "VARCHAR",
    "error_code": "VARCHAR",
    "error_message": "VARCHAR",
    "value": "VARCHAR",  # any other answer, as JSON text
}
HANDLES: Final[dict[str, str]] = {  # one row for each job an operation named, with its operation's columns repeated
    "schedule": "INTEGER",
    "operation": "BIGINT",
    "process": "VARCHAR",
    "kind": "VARCHAR",
    "phase": "VARCHAR",
    "invoked_ns": "BIGINT",
    "completed_ns": "BIGINT",
    "outcome": "VARCHAR",
    "position": "BIGINT",  # from 0, in the order the list had
    "job": "VARCHAR",
    "token": "VARCHAR",
    "attempt": "BIGINT",
    "priority": "BIGINT",
    "accepted": "BOOLEAN",  # true unless the operation is ok and left this handle out
}
STATEMENTS: Final[dict[str, str]] = {
    "schedule": "INTEGER",
    "process": "VARCHAR",
    "connection": "BIGINT",
    "started_ns": "BIGINT",
    "ended_ns": "BIGINT",
    "kind": "VARCHAR",
    "shape": "VARCHAR",
    "trips": "INTEGER",
    "commits": "BOOLEAN",
    "error_kind": "VARCHAR",
    "error_code": "VARCHAR",
    "operation": "BIGINT",  # the operation of the same process it ran in; null outside any
}
PROCESSES: Final[dict[str, str]] = {
    "schedule": "INTEGER",
    "process": "VARCHAR",
    "role": "VARCHAR",  # setup, worker, quiet
    "pid": "BIGINT",
    "started_ns": "BIGINT",
    "ended_ns": "BIGINT",
    "ended": "VARCHAR",  # done; anything else says what went wrong; null: it never said
}
ACQUISITIONS: Final[dict[str, str]] = {
    "schedule": "INTEGER",
    "process": "VARCHAR",
    "pool": "BIGINT",
    "size": "BIGINT",
    "asked_ns": "BIGINT",
    "got_ns": "BIGINT",  # null where it was refused
    "returned_ns": "BIGINT",  # null where it never was
    "ended_ns": "BIGINT",  # when it was got or refused
    "error_kind": "VARCHAR",  # timeout, other
}
TABLES: Final[dict[str, dict[str, str]]] = {
    "operations": OPERATIONS,
    "handles": HANDLES,
    "statements": STATEMENTS,
    "processes": PROCESSES,
    "acquisitions": ACQUISITIONS,
}
# The one-row table `context`: what was promised and asked for, so that invariants need no other source.
CONTEXT: Final[dict[str, str]] = {
    "scenario": "VARCHAR",
    "system": "VARCHAR",
    "database": "VARCHAR",  # sqlite, postgres
    "semantics": "VARCHAR",  # exactly-once-claim, at-least-once, at-most-once
    "ordered": "BOOLEAN",
    "lease_ns": "BIGINT",  # null: claims never expire
    "capabilities": "VARCHAR[]",
    "workers": "BIGINT",
    "jobs": "BIGINT",
    "batch": "BIGINT",
    "faults": "BOOLEAN",  # whether a fault was planned
    "witness": "VARCHAR",  # sqlite-trace, wire, none
    "flush_interval_ns": "BIGINT",  # how long a change of progress may take to be shown; null: nothing was promised
    "most_running": "BIGINT",  # how many jobs may be in workers' hands at once; null: as many as there are
    "max_attempts": "BIGINT",  # how often a job may be handed out before it is dead; null: nobody said
}
