"""An upload as a request: a CSV is streamed from where it lies, rows are sent as JSON."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal, TypeAlias, TypedDict, cast

Row: TypeAlias = Mapping[str, Any] | tuple[str | int | None, str, str | Iterable[str]]
"""`serial_number`, `product_name` and `input_urls`, by name or in this order; no serial number: they are numbered."""
Csv: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes]
Source: TypeAlias = Csv | Iterable[Row]

Format: TypeAlias = Literal["original", "jpeg", "png", "webp", "avif"]
"""A copy of the server's list: the client does without the server's packages."""

UNNAMED = "upload.csv"


class Fields(TypedDict, total=False):
    """What `POST /v1/batches` takes beside the file; what is None counts as not given.

    `renditions` is a list of specs such as `{"name": "thumb", "max_width": 200}`, `columns` says which column is which
    (`serial_number`, `product_name`, `image_urls`), `metadata` is up to 16 pairs of texts. `filename` is for rows and
    open files.
    """

    quality: int | None
    format: Format | None
    max_width: int | None
    max_height: int | None
    background: str | None
    keep_metadata: Literal["none", "copyright", "all"] | None
    renditions: list[dict[str, Any]] | None
    columns: dict[str, str | None] | None
    on_invalid: Literal["reject", "skip"] | None
    webhook_url: str | None
    refresh: bool | None
    metadata: Mapping[str, str] | None
    filename: str | None


@contextmanager
def upload(source: Source, fields: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """httpx's options of the request, which may be sent again and again inside the block.

    Raises:
        OSError: the file cannot be read.
    """
    wishes = {name: value for name, value in fields.items() if value is not None}
    if isinstance(source, str | bytes | os.PathLike) or hasattr(source, "read"):
        with _file(cast("Csv", source)) as (file, name):
            named = (str(wishes.pop("filename", name)), file)
            yield {"files": {"file": named}, "data": {name: _text(wish) for name, wish in wishes.items()}}
    else:
        products = [_product(row) for row in source]
        body = json.dumps({"products": products, **wishes}).encode()
        yield {"content": body, "headers": {"Content-Type": "application/json"}}


@contextmanager
def _file(source: Csv) -> Iterator[tuple[IO[bytes], str]]:
    """A file that can be read from its beginning any number of times, and its name."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        with path.open("rb") as file, _seekable(file) as seekable:
            yield seekable, _readable(path.name)
    elif isinstance(source, bytes):
        yield BytesIO(source), UNNAMED
    else:
        name = getattr(source, "name", None)  # a number, or <stdin>, if it was not opened by its name
        with _seekable(source) as seekable:
            yield seekable, _readable(Path(name).name) if isinstance(name, str) and name[:1] != "<" else UNNAMED


@contextmanager
def _seekable(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The file itself, or a copy of what a pipe brings."""
    if file.seekable():
        yield file
        return
    with TemporaryFile() as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()  # httpx asks the system for its size
        yield copy


def _readable(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")


def _product(row: Row) -> dict[str, Any]:
    product: dict[str, Any] = dict(row if isinstance(row, Mapping) else zip(_NAMES, row, strict=True))
    serial, urls = product.get("serial_number"), product.get("input_urls", ())
    product["serial_number"] = None if serial is None else str(serial)
    product["input_urls"] = [urls] if isinstance(urls, str) else list(urls)
    return product


_NAMES = ("serial_number", "product_name", "input_urls")


def _text(value: object) -> str:
    """A field of a form: texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
