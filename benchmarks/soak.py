"""The soak: seeded random runs in one process for half an hour, while workers and backends of Postgres are killed; does anything grow?

`python -m benchmarks.soak [SECONDS] [SEED]`: a line for each round, then one for each figure. Exit status 1 where a figure grew, or a
verdict was wrong: a right system is never a fail, a wrong one never a pass, whatever is killed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import psutil

from contend.campaign import Request, execute, machine
from harness.errors import ContendError
from harness.scenario import Mode
from harness.verdict import Verdict
from scenarios.claim_recovery import PLANS

SECONDS: Final = 1800.0
WARM_UP: Final = 4  # rounds, in which what is imported late and cached comes to be
FEWEST: Final = 12  # rounds after them, of which a quarter has a median worth the name
KILLED: Final = 0.5  # of the rounds, on average
LATEST_SECONDS: Final = 6.0  # into a round, for something to be killed
MIB: Final = 2**20

RECOVERY: Final = "claim-recovery"
FAULTS: Final = 3  # of a round of it, at random
# What is run, and what it can never be called. Loads are small: many rounds show more than long ones.
ROUNDS: Final[tuple[tuple[Mode, str, str, str, Verdict], ...]] = (
    ("race", "claim-race", "reference:update-returning", "sqlite", "fail"),
    ("race", "claim-race", "reference:select-then-update", "sqlite", "pass"),
    ("race", "claim-race", "reference:skip-locked-cte", "postgres", "fail"),
    ("race", "claim-race", "reference:select-then-update", "postgres", "pass"),
    ("race", "atomic-submit", "reference:immediate-batch", "sqlite", "fail"),
    ("race", "cleanup-churn", "reference:delete-many", "postgres", "fail"),
    ("race", "bulk-delete", "reference:delete-many", "sqlite", "fail"),
    ("race", RECOVERY, "reference:immediate-batch", "sqlite", "fail"),
    ("race", RECOVERY, "reference:skip-locked-cte", "postgres", "fail"),
    ("explore", "claim-race", "reference:immediate-batch", "sqlite", "fail"),
    ("explore", "claim-race", "reference:skip-locked-cte", "postgres", "fail"),
)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much the last quarter's median may lie above the second quarter's: a share of that, and so much besides."""

    share: float
    besides: float
    unit: str
    scale: float = 1


FIGURES: Final[Mapping[str, Tolerance]] = {
    "memory": Tolerance(0.05, 8 * MIB, " MiB", MIB),
    "descriptors": Tolerance(0, 1, ""),
    "threads": Tolerance(0, 0, ""),
    "children": Tolerance(0, 0, ""),
    "temporary entries": Tolerance(0, 0, ""),
}


@dataclass(frozen=True, slots=True)
class Growth:
    """What became of one figure."""

    name: str
    second: float
    last: float
    allowed: float

    @property
    def flat(self) -> bool:
        """Whether it grew no more than is allowed."""
        return self.last - self.second <= self.allowed

    def line(self) -> str:
        """Say it in a line."""
        of = FIGURES[self.name]
        second, last, allowed = (
            f"{value / of.scale:,.1f}{of.unit}" for value in (self.second, self.last, self.allowed)
        )
        word = "flat" if self.flat else "GREW"
        return (
            f"{word}  {self.name}: median of the second quarter {second}, of the last {last} (allowed: {allowed} more)"
        )


def judge(name: str, series: Sequence[float]) -> Growth:
    """Compare the medians of the second and the last quarter of a figure's series. Raises `ValueError` where it is too short to say."""
    if len(series) < FEWEST:
        raise ValueError(f"{len(series)} rounds are too few to say whether {name} grows; {FEWEST} are needed.")
    quarter = len(series) // 4
    second, last = statistics.median(series[quarter : 2 * quarter]), statistics.median(series[-quarter:])
    return Growth(name, second, last, second * FIGURES[name].share + FIGURES[name].besides)


def soak(seconds: float = SECONDS, seed: int = 1) -> dict[str, Any]:
    """Run rounds for so long; gives each with its figures, and the verdicts that were wrong."""
    rng = Random(seed)  # noqa: S311  # repeatable, not secret
    rounds: list[dict[str, Any]] = []
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        temporary, out = Path(place, "temporary"), Path(place, "runs")
        temporary.mkdir()
        tempfile.tempdir = str(temporary)  # in this process and, by TMPDIR, in those it starts
        os.environ["TMPDIR"] = tempfile.tempdir
        while time.monotonic() < until or len(rounds) < WARM_UP + FEWEST:
            told = _round(rng, out)
            shutil.rmtree(out, ignore_errors=True)
            rounds.append({**told, **figures(temporary)})
            print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)  # noqa: T201  # a command line
    wrong = [each for each in rounds if each["verdict"] == each["never"]]
    return {"seed": seed, "seconds": seconds, "rounds": rounds, "wrong": wrong}


def _round(rng: Random, out: Path) -> dict[str, Any]:
    mode, scenario, system, database, never = rng.choice(ROUNDS)
    seed = rng.randrange(10**6)
    below = ("worker", "backend") if database == "postgres" else ("worker",)
    workers, jobs, batch = (2, 4, 2) if mode == "explore" else (None, None, None)
    options: dict[str, Any] = {}
    if mode == "explore":
        options = {"budget": 3.0, "crash": rng.random() < 0.5}
    elif scenario == RECOVERY:
        options = {"faults": ",".join(rng.sample(list(PLANS), FAULTS))}
    request = Request(
        (scenario,),
        (system,),
        (database,),
        workers,
        jobs,
        batch,
        seed=seed,
        out=out,
        options=options,
        mode=mode,
        timed=False,
    )
    began = time.monotonic()
    verdict: Verdict
    with _harm(Random(seed), of=below if rng.random() < KILLED else ()) as done:  # noqa: S311  # as above
        try:
            _, _, verdict = execute(request)
        except ContendError as error:
            verdict, done["error"] = "inconclusive", str(error)[:200]
        except Exception as error:  # noqa: BLE001  # contend's own fault, which no harm may bring about
            verdict, done["error"] = never, f"{type(error).__name__}: {error}"
            traceback.print_exc()
    return {
        "mode": mode,
        "scenario": scenario,
        "system": system,
        "database": database,
        "seed": seed,
        "never": never,
        "verdict": verdict,
        "took": round(time.monotonic() - began, 1),
        **done,
    }


@contextlib.contextmanager
def _harm(rng: Random, *, of: Sequence[str]) -> Iterator[dict[str, Any]]:
    """While the context lasts, at one random moment, SIGKILL a process below us that is one `of` these; of none, do nothing."""
    done: dict[str, Any] = {}
    over = threading.Event()

    def kill() -> None:
        wanted, moment = rng.choice(of), rng.uniform(0.5, LATEST_SECONDS)
        while not over.wait(moment):
            found = [process for what, process in _victims() if what == wanted]
            if found:
                with contextlib.suppress(psutil.Error):
                    rng.choice(found).send_signal(signal.SIGKILL)
                    done["killed"] = wanted
                return
            moment = 0.02

    thread = threading.Thread(target=kill, name="harm")
    if of:
        thread.start()
    try:
        yield done
    finally:
        over.set()
        if of:
            thread.join()


def _victims() -> list[tuple[str, psutil.Process]]:
    """The workers, and the backends that serve them, by what they are."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            parent, words = process.parent(), " ".join(process.cmdline())
            if parent is None:
                continue
            if "forkserver" in words and "forkserver" in " ".join(parent.cmdline()):
                found.append(("worker", process))
            elif words.startswith("postgres: ") and "contend_" in words and "127.0.0.1" in words:
                found.append(("backend", process))
    return found


def figures(temporary: Path) -> dict[str, float]:
    """What this process holds now."""
    gc.collect()
    ourselves = psutil.Process()
    return {
        "memory": ourselves.memory_info().rss,
        "descriptors": ourselves.num_fds(),
        "threads": ourselves.num_threads(),
        "children": len(ourselves.children(recursive=True)),
        "temporary entries": len(list(temporary.iterdir())),
    }


def main(words: Sequence[str]) -> int:
    """Soak, save and say what came of it; give the exit status."""
    told = soak(float(words[0]) if words else SECONDS, int(words[1]) if len(words) > 1 else 1)
    after = told["rounds"][WARM_UP:]
    growths = [judge(name, [each[name] for each in after]) for name in FIGURES]
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    judged = {each.name: {"flat": each.flat, "second": each.second, "last": each.last} for each in growths}
    document = {"machine": machine(), **told, "judged": judged}
    (folder / "soak.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    killed = sum("killed" in each for each in told["rounds"])
    said = (
        f"{len(told['rounds'])} rounds, in {killed} of them something was killed, {len(told['wrong'])} wrong verdicts"
    )
    print(said)  # noqa: T201  # a command line
    for each in told["wrong"]:
        print(f"WRONG {json.dumps(each)}")  # noqa: T201  # as above
    for growth in growths:
        print(growth.line())  # noqa: T201  # as above
    return 0 if not told["wrong"] and all(growth.flat for growth in growths) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
