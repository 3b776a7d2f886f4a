"""Fuzzes the reading of workbooks, feeds and packed files, in the sandbox that the API uses, and writing them again."""

import asyncio
import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

from fuzzing.mutations import Case, Mutator
from imgsvc.adapters.sandbox.tables import TableSandbox, open_tables
from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.formats.convert import Conversion, Converted, convert
from imgsvc.domain.manifest.formats.report_shape import ReportShape
from imgsvc.domain.manifest.formats.table import BY_NAME
from imgsvc.domain.manifest.model import DEFAULT_LIMITS
from imgsvc.domain.manifest.read_csv import read_manifest
from imgsvc.domain.manifest.rows_file import RowsFile
from imgsvc.errors import InvalidManifest, LimitExceeded

MEMORY = 2**30
MAX_BYTES = 2**24
HEADER = ["ID", "Name", "Price", "Day", "Images"]
ROWS = [
    ["00123", "Mug & <cup>", "9.5", "2024-01-31", "https://a.example/1.jpg"],
    ["2", "=1+1", "12", "2024-02-29 13:05:00", "https://a.example/2.jpg, https://a.example/3.jpg"],
    ["3", '"é" \u20ac', "TRUE", "", "https://a.example/4.jpg"],
]
FEED = b"""<?xml version="1.0" encoding="UTF-8"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title>
<item a="b"><g:id>1</g:id><title><![CDATA[Mug]]></title><g:image_link>https://a.example/1.jpg</g:image_link>
<g:additional_image_link>https://a.example/2.jpg</g:additional_image_link>
<g:additional_image_link>https://a.example/3.jpg</g:additional_image_link>
<g:shipping><g:country>US</g:country></g:shipping></item></channel></rss>
"""
LINES = b"""{"id": 1, "name": "Mug", "images": ["https://a.example/1.jpg"], "price": 9.90, "x": null}
{"id": "2", "name": "", "images": [], "size": {"w": 1e3}, "ok": true}
"""
PIECES = (
    *(b"<f>A1</f>", b"<v>", b"</v>", b"</c>", b"<c ", b"<row", b"</row>", b't="e"', b't="str"', b't="inlineStr"', b"<"),
    *(b'r="XFD1048576"', b'r="A0"', b'r="A99999999999"', b"<!DOCTYPE a>", b'<!ENTITY b "c">', b"&b;", b"&#0;", b"&lt;"),
    *(
        b"<item>",
        b"</item>",
        b"<entry>",
        b"]]>",
        b"<![CDATA[",
        b"xmlns:g",
        b"g:",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\u0000",
    ),
    *(b"\\ud800", b"1e999", b"NaN", b"\0", b"\xff\xfe", b"PK\3\4", b"PK\1\2", b"PK\5\6", b"\x1f\x8b\x08", b"1048576"),
    *(b'table:number-rows-repeated="1000000000"', b'table:number-columns-repeated="16384"', b"office:value-type="),
)


def _written(name: str) -> bytes:
    target = io.BytesIO()
    write_file = BY_NAME[name].write_file
    assert write_file is not None
    facts = FileFormat(numbers=(0, 2), dates=(3,), booleans=(2,))
    writer = write_file(target, ReportShape(HEADER, (4,), facts))
    writer.rows(ROWS)
    writer.close()
    return target.getvalue()


def _zipped(**files: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return target.getvalue()


class Tables:
    def __init__(self, _corpora: Path) -> None:
        text = "\n".join(";".join(row) for row in [HEADER, *ROWS]).encode()
        books = [_written("xlsx"), _written("ods")]
        self.groups = [
            books,
            books,
            [FEED],
            [LINES],
            [gzip.compress(text)],
            [_zipped(a__csv=text), _zipped(a__xlsx=books[0])],
        ]
        self.seeds = [seed for group in self.groups for seed in group]
        self._runner: asyncio.Runner | None = None
        self._stack = AsyncExitStack()
        self._folder = tempfile.TemporaryDirectory(prefix="imgsvc-fuzz-")

    def make(self, rng: Random) -> Case:
        mutator, data = Mutator(rng, self.seeds, PIECES), rng.choice(rng.choice(self.groups))
        for _ in range(rng.choice((1, 1, 2))):
            data = rng.choice(MUTATIONS)(data, mutator, rng) if rng.random() < 0.7 else mutator.mutated(data)
        return Case(data, (rng.choice((None,) * 8 + ("Products", "x")),))

    def attempt(self, case: Case) -> str:
        if self._runner is None:
            self._runner = asyncio.Runner()
            self._sandbox = self._runner.run(self._open())
        path = Path(self._folder.name) / "table"
        conversion = Conversion(DEFAULT_LIMITS, MAX_BYTES, filename="a.csv", sheet=case.plan[0])
        try:
            converted = self._runner.run(self._sandbox.read(case.data, conversion, path))
        except (InvalidManifest, LimitExceeded) as refusal:
            assert 1 <= len(refusal.problems) <= min(100, refusal.problems_total)
            assert all(problem.code and problem.detail for problem in refusal.problems)
            assert "failed and was stopped" not in refusal.detail, "an undeclared error ended the process"
            return refusal.problems[0].code
        return f"accepted {converted.file_format.format}{_check(converted, path, conversion)}"

    async def _open(self) -> TableSandbox:
        return await self._stack.enter_async_context(open_tables(memory=MEMORY))


def _check(converted: Converted, path: Path, conversion: Conversion) -> str:
    """Read the rows as the API does, and read again what is written of them in their own format."""
    content: RowsFile | bytes
    if converted.header is None:
        content = path.read_bytes()
    else:
        content = RowsFile(path, converted.header, converted.header_row, converted.file_format, converted.unit)
        _write_and_read(content, conversion)
    try:
        read_manifest(content, name=converted.file_format.format, on_invalid="skip")
    except (InvalidManifest, LimitExceeded) as refusal:
        return f", then {refusal.problems[0].code}"
    return ""


def _write_and_read(content: RowsFile, conversion: Conversion) -> None:
    kind, header = BY_NAME[content.file_format.format], content.header
    shape = ReportShape(header, (len(header) - 1,), content.file_format)
    rows = [[*cells, *[""] * (len(header) - len(cells))] for _, cells in content.rows("")][1:]
    if kind.write_text:
        text = kind.write_text(shape)
        data = (text.begin() + text.rows(rows) + text.end()).encode()
    else:
        assert kind.write_file is not None
        target = io.BytesIO()
        writer = kind.write_file(target, shape)
        writer.rows(rows)
        writer.close()
        data = target.getvalue()
    if not rows or not any(cell.strip() for cell in header):
        return
    again = io.BytesIO()
    convert(data, Conversion(conversion.limits, 4 * conversion.max_bytes), again)
    assert again.getvalue().count(b"\n") <= len(rows)
    assert all(isinstance(json.loads(line), list) for line in again.getvalue().splitlines())


Mutation = Callable[[bytes, Mutator, Random], bytes]


def _changed_member(data: bytes, mutator: Mutator, rng: Random) -> bytes:
    """Mutate the content of a member of a ZIP, so that the change is not lost in its compression."""
    target = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as before:
            members = {info.filename: before.read(info) for info in before.infolist()}
    except Exception:  # zipfile raises errors of many kinds for a ZIP that an earlier mutation has damaged
        return mutator.mutated(data)
    chosen = rng.choice([name for name in members if "sheet" in name or "content" in name] or list(members) or [""])
    if rng.random() < 0.3 and members:
        chosen = rng.choice(list(members))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as after:
        for name, content in members.items():
            if name == chosen and rng.random() < 0.1:
                continue
            after.writestr(name, mutator.mutated(content) if name == chosen else content)
    return target.getvalue()


def _repeated_item(data: bytes, mutator: Mutator, rng: Random) -> bytes:
    for start, end in ((b"<item", b"</item>"), (b"{", b"}\n")):
        first, last = data.find(start), data.find(end)
        if 0 <= first < last:
            item = data[first : last + len(end)]
            return data[:first] + item * rng.choice((2, 100, 5_000)) + data[first:]
    return _changed_member(data, mutator, rng)


def _packed(data: bytes, _mutator: Mutator, rng: Random) -> bytes:
    return gzip.compress(data) if rng.random() < 0.5 else _zipped(a=data)


def _bomb(data: bytes, _mutator: Mutator, rng: Random) -> bytes:
    zeros = rng.choice((b"\0", b"<c/>", b"{}\n", data[:100])) * rng.choice((10_000, 200_000))
    return rng.choice((gzip.compress(zeros), _zipped(a__csv=zeros), gzip.compress(data) * 50, data + zeros))


MUTATIONS: tuple[Mutation, ...] = (_changed_member, _changed_member, _changed_member, _repeated_item, _packed, _bomb)
