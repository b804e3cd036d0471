"""Claim throughput of `skip-locked-cte` at batch 100 by 4 processes, beside pgbench running the same statement with 4 clients."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from harness.databases import choose
from harness.databases.binaries import find_binaries
from harness.measurement import paired_ratio
from harness.processes import CONTEXT, Birth, Crew
from reference_impl.postgres import SkipLockedCte
from reference_impl.statements import statements
from scenarios.systems import source_of

BATCH = 100
CLIENTS = 4
CLAIMS = 50  # a client a turn
PAIRS = 8


def claim_many(client: Any, claims: int) -> float:
    """Claim so many batches; give the seconds."""
    started = time.perf_counter()
    for _ in range(claims):
        client.claim(BATCH)
    return time.perf_counter() - started


def _refill(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE jobs")
        connection.execute(
            "INSERT INTO jobs (payload, priority) SELECT 'null', 0 FROM generate_series(1, %s)",
            [2 * CLIENTS * CLAIMS * BATCH],
        )
        connection.execute("ANALYZE jobs")


def _ours(crew: Crew, names: list[str]) -> float:
    answers = crew.tell(names, claim_many, within=120, claims=CLAIMS)
    if any(answer.problem for answer in answers):
        raise RuntimeError(answers[0].problem)
    return CLIENTS * CLAIMS / max(float(answer.value) for answer in answers)


def _pgbench(url: str, script: Path) -> float:
    tool = find_binaries().folder / "pgbench"
    done = subprocess.run(
        [tool, "--no-vacuum", "--client", str(CLIENTS), "--jobs", str(CLIENTS), "--transactions", str(CLAIMS), "--protocol", "prepared",
         "--file", str(script), url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip  # one option a line would hide the command
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if found is None:
        raise RuntimeError(done.stdout)
    return float(found[1])


def measure() -> dict[str, Any]:
    """Give claims a second of both in ABBA pairs and their ratio ours/pgbench."""
    sql = statements("postgres")["take_skipping"]
    text = sql.replace("%(worker)s", "'w'").replace("%(limit)s", str(BATCH))
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as folder, choose("postgres").serve() as server, server.fresh() as url:
        SkipLockedCte(url).install()
        script = Path(folder) / "claim.sql"
        script.write_text(text.strip().rstrip(";") + ";\n", encoding="utf-8")
        with Crew(Path(folder) / "place") as crew:
            names = [f"w{number}" for number in range(CLIENTS)]
            tally = CONTEXT.RawArray("q", CLIENTS)
            for slot, name in enumerate(names):
                crew.start(
                    Birth(name, "worker", source_of(SkipLockedCte, name), url, {}, crew.folder, None, 1, tally, slot)
                )
            _refill(url)
            _ours(crew, names)
            for pair in range(PAIRS):
                for arm in (0, 1) if pair % 2 == 0 else (1, 0):
                    _refill(url)
                    (theirs if arm else ours).append(_pgbench(url, script) if arm else _ours(crew, names))
    ratio = paired_ratio(ours, theirs, seed=1)
    return {
        "batch": BATCH, "clients": CLIENTS, "claims_a_client_a_turn": CLAIMS, "ours_claims_per_second": ours,
        "pgbench_claims_per_second": theirs, "ratio": {"median": ratio.median, "low": ratio.low, "high": ratio.high, "pairs": ratio.pairs},
    }  # fmt: skip  # one row
