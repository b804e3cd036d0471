"""Keeps the progress of all jobs in one JSON document, which is read, changed and written back: what others wrote meanwhile is gone."""

from __future__ import annotations

import json
from collections.abc import Sequence

from reference_impl.postgres import SkipLockedCte
from reference_impl.progress import Change
from reference_impl.queue import Queue
from reference_impl.sqlite import ImmediateBatch


class _LostUpdate(Queue):
    def install(self) -> None:
        """As `Queue.install`, with the document."""
        super().install()  # type: ignore[safe-super]  # an engine's queue comes between
        self._run("make_board")

    def read_progress(self, job: int) -> float | None:
        """As `Queue.read_progress`, from the document."""
        token, fraction = self._board().get(str(job), (None, None))
        return fraction if (token,) in [row[:1] for row in self._run("read_progress", job=job)] else None

    def _write_progress(self, changes: Sequence[Change]) -> None:
        board = self._board()
        for change in changes:
            token, fraction = board.get(str(change.job), (0, 0.0))
            if (change.token, change.fraction) > (token, fraction):
                board[str(change.job)] = change.token, change.fraction
        self._change("write_board", board=json.dumps(board))

    def _board(self) -> dict[str, tuple[int, float]]:
        ((board,),) = self._run("read_board")
        return dict(json.loads(board))


class SqliteLostUpdate(_LostUpdate, ImmediateBatch):
    """Seen in antenna #1337. Caught by progress-monotonic, once two workers write at the same moment."""


class PostgresLostUpdate(_LostUpdate, SkipLockedCte):
    """The same on Postgres."""
