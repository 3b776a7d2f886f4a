"""The flows that share what is scarce: turns go round between API keys, and within a key between batches."""

from typing import NamedTuple


class Flow(NamedTuple):
    """One batch of one API key, on whose behalf work is done."""

    api_key_id: str
    batch_id: str
