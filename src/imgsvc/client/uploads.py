"""The requests of uploads: a CSV is streamed as a form, rows are sent as JSON, a URL in the form without a file."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal, TypeAlias, TypedDict, cast

import httpx

Row: TypeAlias = Mapping[str, Any] | tuple[str | int | None, str, str | Iterable[str]]
"""`serial_number`, `product_name` and `input_urls`, by name or in this order; None as serial number: number the row."""
Csv: TypeAlias = str | os.PathLike[str] | bytes | IO[bytes]
Source: TypeAlias = Csv | Iterable[Row]

Format: TypeAlias = Literal["original", "jpeg", "png", "webp", "avif"]
"""A copy of the server's list: the client does not import the server's packages."""

DEFAULT_FILENAME = "upload.csv"
_FETCH_TIMEOUT = httpx.Timeout(30, read=1_200)
"""The server answers when it has fetched the catalogue, which may take ten minutes, and before that a wait."""


class Fields(TypedDict, total=False):
    """The fields of `POST /v1/batches` other than the file; None means not given.

    `renditions` is a list of specs such as `{"name": "thumb", "max_width": 200}`, `columns` maps `serial_number`,
    `product_name` and `image_urls` (one or a list) to headers, `metadata` is up to 16 pairs of strings. `filename` is
    for rows and open files. With `output="replace"`, the output is the same file with the new URLs in place of the old
    ones; `on_failed` is `empty`, `original` or a URL. `catalogue` is your name for what the file is a new version of.
    `source_url` takes the place of the file: the server fetches it.
    """

    quality: int | None
    format: Format | None
    max_width: int | None
    max_height: int | None
    fit: Literal["contain", "cover", "pad"] | None
    width: int | None
    height: int | None
    trim: bool | None
    margin: int | None
    background: str | None
    keep_metadata: Literal["none", "copyright", "all"] | None
    renditions: list[dict[str, Any]] | None
    columns: Mapping[str, str | list[str] | None] | None
    on_invalid: Literal["reject", "skip"] | None
    names: str | None
    output: Literal["append", "replace"] | None
    on_failed: str | None
    catalogue: str | None
    source_url: str | None
    webhook_url: str | None
    refresh: bool | None
    metadata: Mapping[str, str] | None
    filename: str | None


@contextmanager
def upload_options(source: Source | None, fields: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """Yield httpx's options of the request; inside the block it can be sent any number of times.

    Raises:
        OSError: the file cannot be read.
        TypeError: there is neither a source nor a `source_url`, or both.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if (source is None) != ("source_url" in given):
        raise TypeError("give either a source (a file or rows) or a source_url")
    if source is None:
        form = {name: (None, _form_value(value)) for name, value in given.items()}
        yield {"files": form, "timeout": _FETCH_TIMEOUT}
    elif isinstance(source, str | bytes | os.PathLike) or hasattr(source, "read"):
        with _file(cast("Csv", source)) as (file, name):
            named = (str(given.pop("filename", name)), file)
            yield {"files": {"file": named}, "data": {name: _form_value(value) for name, value in given.items()}}
    else:
        products = [_product(row) for row in source]
        body = json.dumps({"products": products, **given}).encode()
        yield {"content": body, "headers": {"Content-Type": "application/json"}}


@contextmanager
def _file(source: Csv) -> Iterator[tuple[IO[bytes], str]]:
    """Yield a file that can be read from its beginning any number of times, and its name."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        with path.open("rb") as file, _seekable(file) as seekable:
            yield seekable, _encodable(path.name)
    elif isinstance(source, bytes):
        yield BytesIO(source), DEFAULT_FILENAME
    else:
        name = getattr(source, "name", None)  # a number or <stdin> if the file was not opened by its name
        with _seekable(source) as seekable:
            yield (
                seekable,
                _encodable(Path(name).name) if isinstance(name, str) and name[:1] != "<" else DEFAULT_FILENAME,
            )


@contextmanager
def _seekable(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield the file itself, or a copy of a pipe's content."""
    if file.seekable():
        yield file
        return
    with TemporaryFile() as copy:
        shutil.copyfileobj(file, copy)
        copy.flush()  # httpx reads the size from the file system
        yield copy


def _encodable(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")


def _product(row: Row) -> dict[str, Any]:
    product: dict[str, Any] = dict(row if isinstance(row, Mapping) else zip(_ROW_NAMES, row, strict=True))
    serial, urls = product.get("serial_number"), product.get("input_urls", ())
    product["serial_number"] = None if serial is None else str(serial)
    product["input_urls"] = [urls] if isinstance(urls, str) else list(urls)
    return product


_ROW_NAMES = ("serial_number", "product_name", "input_urls")


def _form_value(value: object) -> str:
    """Encode a field of a form: strings unchanged, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
