"""The division of a host's limit among the workers that want to fetch from it."""

from collections.abc import Mapping
from zlib import crc32

from imgsvc.services.throttling.host_estimate import HostUse

TURN = 8.0
"""Seconds after which other workers have the places of a host that has too few for all."""


def share_of(worker: str, uses: Mapping[str, HostUse], *, limit: float, rate: float, at: float) -> float:
    """Return the share (0 to 1) of `limit` that `worker` may use from now on; `at` is the time in seconds.

    Places are divided evenly, and those that some do not want among the others. If there are fewer places, or fewer
    fetches per second, than workers, some wait for their turn. A worker that gains takes only what others have given
    up, so that together they keep to the limit.
    """
    others = {name: use for name, use in uses.items() if name != worker and use.wanted > 0}
    if not others:
        return 1.0
    turn, places = int(at / TURN), max(1, int(limit))
    names = sorted([*others, worker], key=lambda name: crc32(f"{name} {turn}".encode()))
    in_turn, mine = names[: max(1, min(places, int(rate)))], uses[worker]
    fair = _divide(places, {name: uses[name].wanted for name in in_turn}).get(worker, 0)
    free = places - sum(use.held for use in others.values())
    return max(min(fair, mine.held), min(fair, free), 0) / places


def _divide(places: int, wanted: Mapping[str, float]) -> dict[str, int]:
    """Divide `places` by max-min fairness; what no worker wants is divided evenly."""
    shares, names = {}, sorted(wanted, key=lambda name: wanted[name])
    for number, name in enumerate(names):
        shares[name] = int(min(max(1.0, wanted[name]), places / (len(names) - number)))
        places -= shares[name]
    return {name: share + places // len(names) for name, share in shares.items()}
