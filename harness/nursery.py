"""The nursery: imported by the server that workers are forked from, and by nobody else, as the first of what it preloads."""

from __future__ import annotations

from harness import foster

foster.serve()
