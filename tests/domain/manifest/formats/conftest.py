"""Helpers to convert files in the test's own process."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from imgsvc.domain.manifest.formats.convert import Conversion, convert
from imgsvc.domain.manifest.model import DEFAULT_LIMITS
from imgsvc.errors import Refusal
from support.workbooks import Convert, Table


@pytest.fixture
def table() -> Convert:
    """Return a function that converts bytes with the options of a `Conversion`."""

    def read(data: bytes, *, max_bytes: int = 2**26, **options: Any) -> Table:
        target = io.BytesIO()
        converted = convert(data, Conversion(options.pop("limits", DEFAULT_LIMITS), max_bytes, **options), target)
        if converted.header is None:
            return Table([], [], target.getvalue(), converted)
        lines = [json.loads(line) for line in target.getvalue().splitlines()]
        rows = [converted.header, *(line[1:] for line in lines)]
        return Table(rows, [converted.header_row, *(line[0] for line in lines)], b"", converted)

    return read


@pytest.fixture
def refusal(table: Convert) -> Callable[..., Refusal]:
    """Return a function that converts bytes and returns the refusal."""

    def refused(data: bytes, **options: Any) -> Refusal:
        with pytest.raises(Refusal) as caught:
            table(data, **options)
        return caught.value

    return refused
