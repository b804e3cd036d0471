"""A Django site of one database, for the queues that are apps of Django's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

from reference_impl.sqlite import path_of


def set_up(url: str, apps: Sequence[str], **more: Any) -> None:
    """Set Django up in this process, where it is not yet."""
    if not settings.configured:
        settings.configure(DATABASES={"default": database(url)}, INSTALLED_APPS=apps, USE_TZ=True, **more)
        django.setup()


def database(url: str) -> dict[str, Any]:
    """The setting of a database: of SQLite in the transaction mode in which a transaction waits for its turn, as Django advises."""
    if not url.startswith("postgresql://"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": path_of(url),
            "OPTIONS": {"transaction_mode": "IMMEDIATE"},
        }
    given = conninfo_to_dict(url)
    known = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        **{name: str(given.pop(key, "")) for name, key in known.items()},
        "OPTIONS": given,
    }
