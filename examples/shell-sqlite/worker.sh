#!/bin/sh
# A queue in SQL, spoken for by a POSIX shell script: each request is one run of the sqlite3 command (3.38 or later).
#
#   contend run claim-race --system 'exec:sh examples/shell-sqlite/worker.sh {url}' --database sqlite
#
# SQLite reads the request (json_extract) and writes the answer (json_object), so the shell never takes JSON apart. A claim is one
# UPDATE, which takes the write lock before it looks. Whatever fails has been rolled back, so every error is definite.

database=${1#sqlite://}
said=$(mktemp) || exit 1
trap 'rm -f "$said"' EXIT

ask() { # the SQL on standard input; $request is the table request(line) in it; what it prints goes to standard output
  { echo '.bail on'
    echo '.timeout 10000'
    printf "CREATE TEMP TABLE request AS SELECT '%s' AS line;\n" "$(printf '%s' "$request" | sed "s/'/''/g")"
    cat
  } | sqlite3 "$database" 2>"$said"
}

answer() { # $1 the list of rows that $2, the exit status of sqlite3, came with
  if [ "$2" = 0 ]; then
    printf '{"id":%s,"ok":[%s]}\n' "$id" "$(printf '%s' "$1" | tr '\n' ',')"
  else
    message=$(tr -d '"\\' <"$said" | tr '\n\t' '  ')
    case $message in *'database is locked'*) code='"SQLITE_BUSY"' ;; *) code=null ;; esac
    printf '{"id":%s,"error":{"message":"%s","definite":true,"code":%s}}\n' "$id" "$message" "$code"
  fi
}

while IFS= read -r request; do
  id=${request#'{"id":'} id=${id%%,*} # requests begin with {"id":7,"op":"claim"
  op=${request#*'"op":"'} op=${op%%'"'*}
  case $op in
    hello)
      printf '{"id":%s,"ok":{"capabilities":["install","enqueue","claim","complete"],"databases":["sqlite"],"ordered":true}}\n' "$id"
      ;;
    install)
      rows=$(ask <<'SQL'
PRAGMA journal_mode = WAL;
CREATE TABLE jobs (id INTEGER PRIMARY KEY, payload TEXT, priority INTEGER NOT NULL, status TEXT NOT NULL DEFAULT 'ready',
                   worker TEXT, token INTEGER NOT NULL DEFAULT 0);
CREATE INDEX ready ON jobs (priority DESC, id) WHERE status = 'ready';
SQL
      )
      answer '' $?
      ;;
    enqueue)
      rows=$(ask <<'SQL'
BEGIN IMMEDIATE;
INSERT INTO jobs (payload, priority)
SELECT value ->> 'payload', coalesce(value ->> 'priority', 0) FROM request, json_each(line, '$.jobs') ORDER BY key;
SELECT id FROM (SELECT id FROM jobs ORDER BY id DESC LIMIT (SELECT json_array_length(line, '$.jobs') FROM request)) ORDER BY id;
COMMIT;
SQL
      )
      answer "$rows" $?
      ;;
    claim)
      rows=$(ask <<'SQL'
CREATE TEMP TABLE claimed (id INTEGER, priority INTEGER, token INTEGER);
BEGIN IMMEDIATE;
INSERT INTO claimed SELECT id, priority, token + 1 FROM jobs WHERE status = 'ready' ORDER BY priority DESC, id
LIMIT (SELECT line ->> '$.limit' FROM request);
UPDATE jobs SET status = 'running', token = token + 1, worker = (SELECT line ->> '$.worker' FROM request)
WHERE id IN (SELECT id FROM claimed);
COMMIT;
SELECT json_object('job', id, 'token', token) FROM claimed ORDER BY priority DESC, id;
SQL
      )
      answer "$rows" $?
      ;;
    complete)
      rows=$(ask <<'SQL'
UPDATE jobs SET status = 'done' FROM request, json_each(line, '$.handles')
WHERE jobs.id = value ->> 'job' AND jobs.token = value ->> 'token' AND status = 'running'
RETURNING json_object('job', jobs.id, 'token', jobs.token);
SQL
      )
      answer "$rows" $?
      ;;
    *)
      printf '{"id":%s,"error":{"message":"there is no %s","definite":true}}\n' "$id" "$op"
      ;;
  esac
done
