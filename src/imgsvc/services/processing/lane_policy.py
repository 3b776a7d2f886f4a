"""How long a lane lives and how much it carries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """All times in seconds."""

    assets: int = 64
    """Places for assets in flight; those that are only asked about take a quarter of one."""
    flush_assets: int = 32
    flush_interval: float = 0.5
    look_up_after: float = 5
    """Without anything finished: the batch may have been cancelled, and slow origins be fetched from for nothing."""
    lease: float = 60
    yield_after: float = 5
    """Age at which it makes place when other lanes wait."""
    lifetime: float = 40
    """Age at which it makes place in any case."""
    hand_back_after: float = 50
    """Age at which it hands back what is still in flight; well before the lease ends."""
    drain: float = 15
    """What a stopping process gives the assets in flight."""
