// A queue on Postgres with SKIP LOCKED, leases and fencing, in Node with pg.
//
//   npm install --prefix examples/node-pg
//   contend run claim-race --system 'exec:node examples/node-pg/worker.js {url}' --database postgres
//   contend explore claim-race --system 'exec:node examples/node-pg/worker.js {url}' --database postgres
'use strict';
const readline = require('node:readline');
const { Pool } = require('pg');

const pool = new Pool({ connectionString: process.argv[2], max: 1, idleTimeoutMillis: 0 }); // connects anew when it must
let leaseSeconds = 30;

const HELD = `SELECT j.id FROM jobs j JOIN unnest($1::bigint[], $2::bigint[]) AS h (id, token)
  ON j.id = h.id AND j.token = h.token WHERE j.status = 'running' ORDER BY j.id FOR UPDATE OF j`;

// Change the jobs of these handles that are still held by them; give the handles of those.
async function change(handles, set, ...more) {
  const { rows } = await pool.query(
    `WITH held AS (${HELD}) UPDATE jobs SET ${set} FROM held WHERE jobs.id = held.id RETURNING jobs.id::int AS job, token::int`,
    [handles.map((handle) => handle.job), handles.map((handle) => handle.token), ...more],
  );
  return rows;
}

const does = {
  async hello({ options }) {
    leaseSeconds = options.lease_seconds ?? leaseSeconds;
    return {
      capabilities: Object.keys(does).filter((name) => name !== 'hello'),
      databases: ['postgres'],
      semantics: 'exactly-once-claim',
      ordered: true,
      lease_seconds: leaseSeconds,
    };
  },
  async install() {
    await pool.query(`
      CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload text, priority int NOT NULL,
        status text NOT NULL DEFAULT 'ready', worker text, token bigint NOT NULL DEFAULT 0, lease_until timestamptz);
      CREATE INDEX ready ON jobs (priority DESC, id) WHERE status <> 'done'`);
    return null;
  },
  async enqueue({ jobs }) {
    const { rows } = await pool.query(
      `INSERT INTO jobs (payload, priority)
       SELECT payload, priority FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS j (payload, priority, place) ORDER BY place
       RETURNING id::int`,
      [jobs.map((job) => job.payload), jobs.map((job) => job.priority ?? 0)],
    );
    return rows.map((row) => row.id).sort((a, b) => a - b); // they were numbered in this order
  },
  async claim({ worker, limit }) {
    const { rows } = await pool.query(
      `WITH next AS MATERIALIZED (
         SELECT id FROM jobs WHERE status = 'ready' OR (status = 'running' AND lease_until < now())
         ORDER BY priority DESC, id LIMIT $1 FOR UPDATE SKIP LOCKED)
       UPDATE jobs SET status = 'running', worker = $2, token = token + 1, lease_until = now() + $3 * interval '1 second'
       FROM next WHERE jobs.id = next.id RETURNING jobs.id::int AS job, token::int, priority`,
      [limit, worker, leaseSeconds],
    );
    rows.sort((a, b) => b.priority - a.priority || a.job - b.job); // RETURNING keeps no order
    return rows.map(({ job, token }) => ({ job, token }));
  },
  complete: ({ handles }) => change(handles, `status = 'done'`),
  fail: ({ handles }) => change(handles, `status = 'ready'`),
  heartbeat: ({ handles }) => change(handles, `lease_until = now() + $3 * interval '1 second'`, leaseSeconds),
  async recover() {
    const { rowCount } = await pool.query(
      `UPDATE jobs SET status = 'ready' WHERE status = 'running' AND lease_until < now()`,
    );
    return rowCount;
  },
};

// An error of the server means that nothing was done, as every request is one statement; one of the connection, that nobody knows.
const told = (error) => ({
  message: error.message,
  class: error.name,
  code: error.code,
  definite: error.severity === 'ERROR',
});

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, op, ...given } = JSON.parse(line);
    let answer;
    try {
      answer = { id, ok: await does[op](given) };
    } catch (error) {
      answer = { id, error: told(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  await pool.end();
}

pool.on('error', () => {}); // a connection that is lost while nothing is asked of it concerns nobody
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
