"""From a template to one whole file: the environment every page is rendered in, and how it is put on disk."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.bundle import replacing, writing
from harness.measurement import quantile
from reports import wording


def render(template: str, **facts: Any) -> str:
    """A page as HTML text: foreign text is escaped, and a fact the template lacks raises instead of vanishing."""
    return _environment().get_template(template).render(**facts)


@functools.cache  # it keeps the templates it has compiled
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "q": wording.quoted,
        "number": wording.number,
        "quantity": wording.quantity,
        "database": wording.database,
        "strategy": wording.strategy,
        "verdict": wording.verdict,
        "coverage": wording.coverage,
        "semantics": wording.semantics,
        "tally": wording.tally,
        "label": wording.label,
        "plain": wording.plain,
        "spread": _spread,
        "together": wording.together,
    }
    return environment


def save(page: str, path: Path) -> Path:
    """Write a page; raises `OutputUnwritable`, and a page that was there before is then still whole."""
    with writing(path), replacing(path) as draft:
        draft.write_bytes(page.encode())
    return path


def _spread(samples: Sequence[float]) -> str:
    """The median of samples with their extremes."""
    if not samples:
        return "–"
    low, high = wording.number(min(samples)), wording.number(max(samples))
    return f"{wording.number(quantile(samples, 0.5))} ({low} to {high})"
