"""Downloads of CSVs and archives to files."""

import os
from collections.abc import Sequence
from pathlib import Path

from imgsvc.client.actions import NO_RETRIES, Call, RetryBudget, Send, read_chunk, send
from imgsvc.client.files import atomic_file, is_device
from imgsvc.client.responses import check_response

CSV, ZIP = "text/csv", "application/zip"
OUTPUT_TYPES = {
    ".tsv": "text/tab-separated-values",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".jsonl": "application/jsonl",
    ".xml": "application/xml",
}
"""A copy of the server's table of formats: the client does not import the server's packages."""


Option = bool | Sequence[str]
"""A flag of the query, or the values of a parameter that may be repeated."""


def output_of(target: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the name of the report for the file `target`, and its media type: by its ending, otherwise CSV."""
    ending = Path(target).suffix.lower()
    return f"output{ending if ending in OUTPUT_TYPES else '.csv'}", OUTPUT_TYPES.get(ending, CSV)


def download(
    source: str, target: str | os.PathLike[str], media_type: str, *, url: str, retries: RetryBudget, **options: Option
) -> Call[None]:
    """Download the path `source` to `target`; the file appears only when it is complete.

    A download that breaks is started again, unless `target` is a pipe. `options` are parameters of the query.
    """
    query = {name: "true" if value is True else value for name, value in options.items() if value}
    path = Path(target)

    def attempt() -> Call[None]:
        check_response((yield from send(Send("GET", source, {"params": query}, streamed=True))), url, media_type)
        with atomic_file(path) as file:
            while data := (yield from read_chunk()):
                file.write(data)

    return (NO_RETRIES if is_device(path) else retries).run(attempt)
