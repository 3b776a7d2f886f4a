"""Helpers to convert files in the test's own process."""

from collections.abc import Callable
from typing import Any

import pytest

from imgsvc.errors import Refusal
from support.workbooks import Convert, read_table


@pytest.fixture
def table() -> Convert:
    """Return a function that converts bytes with the options of a `Conversion`."""
    return read_table


@pytest.fixture
def refusal() -> Callable[..., Refusal]:
    """Return a function that converts bytes and returns the refusal."""

    def refused(data: bytes, **options: Any) -> Refusal:
        with pytest.raises(Refusal) as caught:
            read_table(data, **options)
        return caught.value

    return refused
