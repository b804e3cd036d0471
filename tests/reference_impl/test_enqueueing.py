"""Enqueueing what was enqueued already, and claiming no more than may be running, on both engines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from reference_impl.defects import DEFECTS
from reference_impl.enqueueing import insist
from reference_impl.limits import SqliteLimited
from reference_impl.queue import Queue
from reference_impl.strategies import system

JOBS: list[dict[str, Any]] = [
    {"payload": {"key": "a", "b": 1}},
    {"payload": "a"},
    {"payload": {"key": "b"}, "priority": 1},
    {},
]
KEYED = [JOBS[0], JOBS[2]]
Make = Callable[..., Queue]


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Iterator[Make]:
    """Makes queues of one new database by a name of the tables, installed by the first."""
    url = new_database(request.param)
    made: list[Queue] = []

    def queue(name: str, **options: Any) -> Queue:
        found = {"limited": DEFECTS["count-then-claim"].right[request.param]}.get(name) or system(name, request.param)
        made.append(found(url, **options))
        if len(made) == 1:
            made[0].install()
        return made[-1]

    yield queue
    for each in made:
        each.close()


def test_a_job_that_is_there_is_given_instead_of_a_new_one_in_the_order_asked(make: Make) -> None:
    queue = make("enqueue-once")
    assert queue.enqueue([]) == []
    first, *_, last = known = queue.enqueue(JOBS)
    assert known == sorted(known)
    keyless = [*queue.enqueue(JOBS[::-1])]
    assert keyless[1::2] == [known[2], first]
    assert last < keyless[0] < keyless[2]
    queue.complete("w", queue.claim("w", 10))
    assert queue.enqueue(JOBS[:1]) == [first]  # though it is done
    assert queue.delete_many("jobs", [first]) == 1
    (again,) = queue.enqueue(JOBS[:1])
    assert again > keyless[2]


def test_however_many_enqueue_a_job_at_once_it_is_added_once(make: Make) -> None:
    queue = make("enqueue-once")
    with ThreadPoolExecutor(6) as pool:
        told = list(pool.map(lambda number: queue.enqueue([{"payload": {"key": str(number // 6)}}])[0], range(60)))
    assert len(queue.status_all()) == len(set(told)) == 10


def cut(queue: Queue) -> None:
    """End every connection of the queue's database, as when the network fails."""
    with psycopg.connect(queue.url, autocommit=True) as server:
        server.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )


def test_who_lost_its_connection_enqueues_again_on_another(new_database: Callable[[str], str]) -> None:
    queue = system("enqueue-once", "postgres")(new_database("postgres"))
    queue.install()
    known = queue.enqueue(KEYED)
    cut(queue)
    assert queue.enqueue(KEYED) == known
    cut(queue)
    with pytest.raises(psycopg.OperationalError):
        queue.enqueue(JOBS)  # of which some have no key
    queue.close()


def test_two_that_add_the_same_keys_in_another_order_do_not_fail_for_it(new_database: Callable[[str], str]) -> None:
    """The queue is the one that ends the deadlock: it looks for one after two seconds, and the other only after a minute."""
    url = new_database("postgres")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {owner.info.dbname} SET deadlock_timeout = '2s'".encode())
    queue = system("enqueue-once", "postgres")(url)
    queue.install()
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    insert = "INSERT INTO jobs (payload, priority, key) VALUES ('null', 0, %s) RETURNING id"
    with psycopg.connect(queue.url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SET deadlock_timeout = '60s'")
        (b,) = other.execute(insert, ["b"]).fetchone() or ()
        enqueued = pool.submit(queue.enqueue, KEYED)  # adds "a", and waits for "b"
        with psycopg.connect(queue.url, autocommit=True) as server:
            while not server.execute(waiting).fetchone():
                assert not enqueued.done()
        (a,) = other.execute(insert, ["a"]).fetchone() or ()  # ends the other's first try
        other.commit()
        assert enqueued.result() == [a, b]
    queue.close()


@pytest.mark.parametrize(
    ("error", "times"),
    [(psycopg.OperationalError, 3), (psycopg.errors.AdminShutdown, 3), (psycopg.errors.LockNotAvailable, 1)],
)
def test_only_a_lost_connection_is_tried_again_and_not_for_ever(error: type[Exception], times: int) -> None:
    tries = []

    def enqueue() -> None:
        tries.append(1)
        raise error

    with pytest.raises(error):
        insist(enqueue)
    assert len(tries) == times


def test_no_more_are_claimed_than_may_be_running(make: Make) -> None:
    queue = make("limited", most_running=3)
    queue.enqueue([{}] * 9)
    held = queue.claim("w0", 2)
    assert [len(held), len(queue.claim("w1", 5)), queue.claim("w2", 5)] == [2, 1, []]
    queue.complete("w0", held[:1])
    assert len(queue.claim("w2", 5)) == 1
    assert len(make("limited").claim("w3", 5)) == 5  # whoever was given no limit knows of none


def test_all_who_claim_at_once_count_one_after_the_other(make: Make) -> None:
    queue = make("limited", most_running=4)
    queue.enqueue([{}] * 40)
    together = threading.Barrier(8)

    def claim(number: int) -> int:
        together.wait()
        return len(queue.claim(f"w{number}", 2))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(8))) == 4


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "2"])
def test_a_limit_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="most_running"):
        SqliteLimited("sqlite:///tmp/x.db", most_running=wrong)
