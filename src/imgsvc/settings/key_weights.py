"""The weights of API keys, as `IMGSVC_KEY_WEIGHTS` has them."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode


def _split(value: object) -> object:
    """Turn `key_a=4,key_b=0.5` into a mapping; its numbers are checked afterwards."""
    if not isinstance(value, str):
        return value
    entries = [entry.partition("=") for entry in value.split(",") if entry.strip()]
    weights = {key.strip(): weight.strip() for key, _, weight in entries}
    if len(weights) < len(entries):
        raise ValueError("must give each API key one weight")
    return weights


KeyWeights = Annotated[
    Mapping[Annotated[str, Field(min_length=1)], Annotated[float, Field(ge=0.01, le=100)]],
    NoDecode,
    BeforeValidator(_split),
]
