"""Values of a workbook as text, and text as values again: `12` and not `12.0`, dates in ISO 8601."""

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from imgsvc.domain.manifest.file_format import FileFormat

Value = str | float | bool | dt.date | dt.datetime | dt.time | dt.timedelta
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,307})(?:\.[0-9]+)?(?:e[+-][0-9]{2,3})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?: [0-9]{2}:[0-9]{2}:[0-9]{2})?")
_BOOLEANS = {"TRUE": True, "FALSE": False}
_MAX_INTEGER = 1e15
"""Numbers of a workbook have 15 digits."""


def _number_text(value: float) -> str:
    if value.is_integer() and abs(value) < _MAX_INTEGER:
        return str(int(value))
    return format(value, ".15g")


def _duration_text(value: dt.timedelta) -> str:
    minutes, seconds = divmod(int(value.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}"


class CellTexts:
    """Converts the values of a table to text, and finds the columns in which the text suffices to restore the values.

    It suffices if no text of the column looks like a value: in a column with the number 12 and the text `12`, both are
    returned as text.
    """

    def __init__(self) -> None:
        self._values: dict[str, set[int]] = defaultdict(set)
        self._texts: dict[str, set[int]] = defaultdict(set)

    def row(self, values: Iterable[Value]) -> list[str]:
        return [
            self._text(index, value) if not isinstance(value, str) else self._look_at(index, value)
            for index, value in enumerate(values)
        ]

    def columns(self, kind: str) -> tuple[int, ...]:
        """Return the columns whose `numbers`, `dates` or `booleans` can be restored."""
        return tuple(sorted(self._values[kind] - self._texts[kind]))

    def _text(self, index: int, value: Value) -> str:
        if isinstance(value, bool):
            self._values["booleans"].add(index)
            return "TRUE" if value else "FALSE"
        if isinstance(value, int | float):
            self._values["numbers"].add(index)
            return _number_text(float(value))
        if isinstance(value, dt.date):
            self._values["dates"].add(index)
            text = value.isoformat(" ") if isinstance(value, dt.datetime) else value.isoformat()
            return text.partition(".")[0]
        return _duration_text(value) if isinstance(value, dt.timedelta) else str(value)

    def _look_at(self, index: int, text: str) -> str:
        if text and text[0] in "-0123456789TF" and (kind := kind_of(text)):
            self._texts[kind].add(index)
        return text


def kind_of(text: str) -> str | None:
    """Return the kind of value that `text` could be."""
    if text in _BOOLEANS:
        return "booleans"
    if _NUMBER.fullmatch(text):
        return "numbers"
    return "dates" if _DATE.fullmatch(text) else None


def restored(text: str, kinds: Sequence[str]) -> Value:
    """Return the value of `text` in a column in which the kinds of values in `kinds` can be restored."""
    kind = kind_of(text)
    if kind not in kinds:
        return text
    if kind == "booleans":
        return _BOOLEANS[text]
    if kind == "numbers":
        return float(text)
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    return value if " " in text else value.date()


def kinds_by_column(file_format: FileFormat) -> dict[int, list[str]]:
    """Return the kinds of values that can be restored, by column."""
    kinds: dict[int, list[str]] = defaultdict(list)
    for kind, columns in (
        ("numbers", file_format.numbers),
        ("dates", file_format.dates),
        ("booleans", file_format.booleans),
    ):
        for column in columns:
            kinds[column].append(kind)
    return dict(kinds)
