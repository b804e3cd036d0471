"""Django Q2's ORM broker: of each task that is unlocked, or whose lock is over, the lock is moved ahead if it is still the one seen."""

from __future__ import annotations

from typing import Any, Final

from django.core.management import call_command
from django.db import connections

from scenarios.queues.django_site import set_up

POLL_SECONDS: Final = 0.01  # that the broker sleeps where there is nothing


class Broker:
    """What a cluster's pusher and monitor ask of the broker: `dequeue`, and `acknowledge` when it is done."""

    lease_seconds = 60.0

    def __init__(self, url: str, *, lease_seconds: float = 60.0) -> None:
        cluster = {
            "orm": "default",
            "poll": POLL_SECONDS,
            "bulk": 1,
            "retry": lease_seconds,
            "timeout": lease_seconds / 2,
        }
        set_up(url, ["django_q"], SECRET_KEY="of a database that is thrown away", Q_CLUSTER=cluster)  # noqa: S106
        from django_q.brokers import get_broker  # noqa: PLC0415  # it reads the settings
        from django_q.signing import SignedPackage  # noqa: PLC0415  # as above
        from django_q.tasks import async_task  # noqa: PLC0415  # as above

        self._broker = get_broker()
        self._read, self._enqueue = SignedPackage.loads, async_task

    def install(self) -> None:
        """Run the migrations."""
        call_command("migrate", verbosity=0)

    def enqueue(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Enqueue a task for each job; its id is the task's."""
        return [self._enqueue("builtins.len", job["payload"], broker=self._broker) for job in jobs]

    def claim(self, _worker: str, _limit: int) -> list[dict[str, Any]]:
        """Dequeue once, which gives one task; again where the answer is empty, as others were faster. None says that there is nothing."""
        while (found := self._broker.dequeue()) == []:
            pass
        return [{"job": self._read(package)["id"], "receipt": receipt} for receipt, package in found or ()]

    def complete(self, _worker: str, handles: list[dict[str, Any]]) -> None:
        """Acknowledge each."""
        for handle in handles:
            self._broker.acknowledge(handle["receipt"])

    def close(self) -> None:
        """Close the connections."""
        connections.close_all()
