"""The limits of a lane."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """The limits on the age of a lane and the assets it holds; all times in seconds."""

    assets: int = 64  # slots for assets in flight; a conditional fetch takes a quarter of one
    flush_assets: int = 32
    flush_interval: float = 0.5
    idle_flush_interval: float = 5  # with nothing finished: a cancelled batch must not keep fetching from slow origins
    lease: float = 60
    yield_after: float = 5  # the age at which it ends if other lanes are waiting
    lifetime: float = 40  # the age at which it stops claiming in any case
    hand_back_after: float = 50  # the age at which it hands back what is still in flight, well before the lease ends
    drain: float = 15  # the time that a stopping process gives the assets in flight
