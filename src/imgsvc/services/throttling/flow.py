"""Flows: what fair queueing takes turns between."""

from typing import NamedTuple


class Flow(NamedTuple):
    """The work of one batch, on behalf of an API key."""

    api_key_id: str
    batch_id: str
