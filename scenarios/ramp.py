"""A Locust load shape: users come in ten equal steps over the whole run time. `locust -f scenarios/locustfile.py,scenarios/ramp.py`."""

from __future__ import annotations

import math
from typing import Any, Final, cast

from locust import LoadTestShape
from locust.runners import Runner

STEPS: Final = 10


class Ramp(LoadTestShape):
    """From a tenth of `--users` to all of them, in as many steps, then to the end of `--run-time`."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Give the number of users there should be now, and how many may come a second."""
        options: Any = cast("Runner", self.runner).environment.parsed_options
        passed = self.get_run_time() / options.run_time
        if passed >= 1:
            return None
        users = math.ceil(options.num_users * (math.floor(passed * STEPS) + 1) / STEPS)
        return users, options.spawn_rate or float(users)
