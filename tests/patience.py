"""Time-outs of the service as long as a test may take: a machine that stood still is no part that is away."""

from functools import partial
from typing import Any

import pytest

from imgsvc import bootstrap
from imgsvc.adapters import rates
from imgsvc.adapters.outbound import FetchLimits
from imgsvc.adapters.queue import ArqQueue, open_redis

LONG = 60.0

PATIENT = FetchLimits(
    connect_timeout=LONG, read_timeout=LONG, total_timeout=LONG, dns_timeout=LONG, webhook_timeout=LONG
)
"""A test makes one of them short, by which then every call ends, however late anything else comes."""

SLOWLY: dict[str, Any] = {"connect_timeout": 20.0, "dns_timeout": 20.0}
"""The same as settings; the others are long already."""


def wait_longer_for_redis(patch: pytest.MonkeyPatch) -> None:
    """Otherwise an upload that had to wait for it wakes no lane (2 s), or is not counted (0.5 s)."""
    patch.setattr(rates, "PATIENCE", LONG)
    patch.setattr(bootstrap, "open_redis", partial(open_redis, timeout=LONG))
    patch.setattr(bootstrap, "ArqQueue", partial(ArqQueue, timeout=LONG))
