"""The faults a run can be planned with, by name: one small file each, registered here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.errors import UnknownName
from harness.faults.crash_server import CrashServer
from harness.faults.cut_connection import CutConnection
from harness.faults.fill_disk import FillDisk
from harness.faults.freeze_server import FreezeServer
from harness.faults.half_open import HalfOpen
from harness.faults.hold_lock import HoldLock
from harness.faults.idle_transaction import IdleTransaction
from harness.faults.kill_worker import KillWorker
from harness.faults.latency import Latency
from harness.faults.lose_commit import LoseCommit
from harness.faults.nothing import Nothing
from harness.faults.pause_worker import PauseWorker
from harness.faults.skew_clock import SkewClock
from harness.faults.swizzle import Swizzle
from harness.faults.terminate_backend import TerminateBackend
from harness.protocols import Fault

_TABLE: Final[tuple[Fault, ...]] = (
    Nothing(),
    KillWorker(),
    PauseWorker(),
    Swizzle(),
    CutConnection(),
    TerminateBackend(),
    LoseCommit(),
    Latency(),
    HalfOpen(),
    CrashServer(),
    FreezeServer(),
    HoldLock(),
    FillDisk(),
    SkewClock(),
    IdleTransaction(),
)
FAULTS: Final[Mapping[str, Fault]] = {fault.name: fault for fault in _TABLE}


def choose(name: str) -> Fault:
    """Give the fault of that name. Raises `UnknownName`."""
    if name not in FAULTS:
        raise UnknownName("fault", name, list(FAULTS))
    return FAULTS[name]
