"""The file of an earlier batch that has not changed: its rows are what reading the file again would store."""

import gzip
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.bootstrap import Resources, manifest_limits
from imgsvc.db.engine import Sessions
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.tables import Asset, Batch, Product
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.manifest.columns import Columns
from imgsvc.domain.manifest.formats.convert import Conversion, convert
from imgsvc.domain.manifest.model import ManifestLimits
from imgsvc.domain.manifest.rows_file import RowsFile
from imgsvc.errors import Refusal
from imgsvc.services.intake.earlier_file import find_earlier, read_known_file
from imgsvc.services.intake.source import Source, catalogue_of, reading_of
from imgsvc.services.intake.submit import submit
from imgsvc.services.intake.upload import Upload
from imgsvc.services.ports import Validators
from support.batches import ManualClock
from support.catalogue_exports import EXPORTS
from support.workbooks import workbook, zipped

URL = "https://shop.example/feed"
MAX_BYTES = 2**20
VALIDATORS = Validators('"1"', None, "0" * 64)
HEADER = "ID,Name,Images,Note"
LINES = b"""\
{"id": 7, "name": "Mug", "images": ["https://a.example/1.jpg"], "x": null, "y": {"a": [1]}}
{"id": 8, "name": "Cup", "images": [], "x": "", "z": true}
"""
FEED = b"""\
<?xml version="1.0"?><rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>
<item><g:id>7</g:id><title>Mug</title><g:image_link>https://a.example/1.jpg</g:image_link>
<g:additional_image_link>https://a.example/2.jpg</g:additional_image_link>
<g:additional_image_link>https://a.example/3.jpg</g:additional_image_link></item></channel></rss>
"""
ODDITIES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "numbered": (b"Title;Bild\r\nShoe;https://a.example/1.jpg\r\n", {"columns": Columns(
        serial_number=None, product_name="Title", image_urls="Bild")}),
    "invalid urls": (
        f"{HEADER}\n1,Shoe,\"htp:/a.jpg, https://a.example/{'x' * 3_000}.jpg, http://a.example/1.jpg\",\n".encode(),
        {"on_invalid": "skip"},
    ),
    "nothing but invalid urls": (f"{HEADER}\n1,Shoe,htp:/a.jpg,\n".encode(), {"on_invalid": "skip"}),
    "spilled urls": (b"ID,Name,Images\n1,Shoe,https://a.example/1.jpg,https://a.example/2.jpg\n", {}),
    "short, long and blank rows": (f"{HEADER}\n1,Shoe\n\n2,Hat,https://a.example/1.jpg,a,b,c\n,,\n".encode(), {}),
    "repeated urls": (f"{HEADER}\n1,Shoe,\"https://a.example/1.jpg https://a.example/1.jpg\",\n".encode(), {}),
    "warnings": ((f"{HEADER}\n" + "1,,,\n" * 150 + "2,Shoe,https://a.example/1.jpg,\n").encode(), {}),
    "utf-16": (f"{HEADER}\n1,Größe,https://a.example/1.jpg,\U0001f45f\n".encode("utf-16"), {"output": "replace"}),
    "cp1252": (f"{HEADER}\n1,Größe,https://a.example/1.jpg,x\n".encode("cp1252"), {"output": "replace"}),
    "sep": (f"sep=;\n{HEADER.replace(',', ';')}\n1;Shoe;https://a.example/1.jpg;\n".encode(), {"output": "replace"}),
    "quotes": (f'{HEADER}\n"1", "Shoe","https://a.example/1.jpg","a""b\nc"\r\n\n\n'.encode(), {"output": "replace"}),
    "options": (f"{HEADER}\n1,Shoe,https://a.example/1.jpg,\n".encode(), {
        "specs": (Spec(quality=40), Spec(name="thumb", max_width=50)), "names": "{note}-{sku}-{n}",
        "on_failed": "original", "webhook_url": "https://a.example/h", "metadata": {"a": "b"}}),
    "tsv": (b'ID\tName\tImages\n1\t"Best" mug\thttps://a.example/1.jpg\n', {"filename": "shop.tsv"}),
    "xlsx": (workbook([["ID", "Name", "Images"], [7, "Mug", "https://a.example/1.jpg"], [8, 9.5, None]]), {}),
    "gzip": (gzip.compress(f"{HEADER}\n1,Shoe,https://a.example/1.jpg,\n".encode()), {"output": "replace"}),
    "zip": (zipped(shop__csv=f"{HEADER}\n1,Shoe,https://a.example/1.jpg,\n".encode()), {}),
    "json lines": (LINES, {}),
    "feed": (FEED, {"output": "replace"}),
}  # fmt: skip


def read(data: bytes, target: Path, limits: ManifestLimits, fields: dict[str, Any]) -> Upload:
    """Return the upload of a file that was fetched, converted as the sandbox does."""
    upload = Upload(b"", source_url=URL, catalogue=catalogue_of(URL), **fields)
    with target.open("wb") as out:
        found = convert(data, Conversion(limits, MAX_BYTES, filename=upload.filename or ""), out)
    rows = found.header and RowsFile(target, found.header, found.header_row, found.file_format, found.unit)
    source = Source(URL, VALIDATORS, reading_of(upload, limits, MAX_BYTES), size=len(data))
    table = rows or target.read_bytes()
    return replace(upload, data=data, table=table, format=found.file_format.format, source=source.stored())


async def store(resources: Resources, upload: Upload) -> str:
    accepted = await submit(
        upload,
        api_key_id=LOCAL_KEY,
        sessions=resources.sessions,
        queue=resources.queue,
        retention=resources.retention,
        clock=resources.clock,
        limits=manifest_limits(resources.settings),
    )
    assert isinstance(resources.clock, ManualClock)
    resources.clock.forward(1)  # ids sort by time
    return accepted.batch.id


async def rows_of(resources: Resources, batch_id: str) -> list[list[dict[str, Any]]]:
    """Return all rows of a batch without ids and times."""
    async with resources.sessions.read() as session:
        batch = await session.exec(select(Batch).where(Batch.id == batch_id))
        products = await session.exec(
            select(Product).where(Product.batch_id == batch_id).order_by(col(Product.position))
        )
        assets = await session.exec(select(Asset).where(Asset.batch_id == batch_id).order_by(col(Asset.position)))
        return [[_facts(row) for row in rows.all()] for rows in (batch, products, assets)]


def _facts(row: SQLModel) -> dict[str, Any]:
    dump = row.model_dump(exclude={"id", "batch_id"})
    return {name: value for name, value in dump.items() if not name.endswith("_at")}


async def stored_again(resources: Resources, upload: Upload) -> str:
    """Store the upload with the file of the batch before."""
    limits = manifest_limits(resources.settings)
    bare = replace(upload, data=b"", table=None, format="csv", source=None)
    reading = reading_of(bare, limits, MAX_BYTES)
    earlier = await find_earlier(bare, reading, api_key_id=LOCAL_KEY, sessions=resources.sessions)
    assert earlier is not None
    known = await read_known_file(earlier[0], bare, limits=limits, sessions=resources.sessions)
    assert known is not None
    return await store(resources, replace(bare, known=known, source=earlier[1].stored()))


def cases() -> Iterator[Any]:
    for name, export in EXPORTS.items():
        for output in ("append", "replace"):
            yield pytest.param(export.data("https://a.example"), {"output": output}, id=f"{name} {output}")
    for name, (data, fields) in ODDITIES.items():
        yield pytest.param(data, fields, id=name)


@pytest.mark.parametrize(("data", "fields"), list(cases()))
async def test_the_rows_are_those_of_the_file_read_again(
    resources: Resources, tmp_path: Path, data: bytes, fields: dict[str, Any]
) -> None:
    upload = read(data, tmp_path / "table", manifest_limits(resources.settings), fields)
    first, second = await store(resources, upload), await store(resources, upload)
    third = await stored_again(resources, upload)
    assert await rows_of(resources, first) == await rows_of(resources, second) == await rows_of(resources, third)


PIECES = (
    "https://a.example/1.jpg", "http://B.example/ü.jpg", "//a.example/3.jpg", "www.a.example",
    "htp:/x", "a.jpg", "", " ", "0", "Größe", '"', '""', "a,b", "a;b", "\t", "\n", "\r\n", "'", "\u200b", "\U0001f45f",
)  # fmt: skip


def random_table(dice: random.Random) -> bytes:
    delimiter, end = dice.choice(",;\t|"), dice.choice(["\n", "\r\n", "\r"])
    width = dice.randint(3, 5)

    def cell() -> str:
        text = dice.choice(["", ", ", " "]).join(dice.choices(PIECES, k=dice.randint(0, 3)))
        plain = text.replace("\n", " ").replace("\r", " ").replace(delimiter, " ").replace('"', "'")
        return plain if dice.random() < 0.5 else '"' + text.replace('"', '""') + '"'

    rows = [delimiter.join(cell() for _ in range(max(1, width + dice.choice([0, 0, 0, -1, 1])))) for _ in range(6)]
    header = ["ID", "Name", "Images", "Image Link", "Note"][:width]
    if dice.random() < 0.5:
        header[2:] = dice.sample(header[2:], width - 2)
    text = end.join([delimiter.join(header), *rows]) + dice.choice(["", end, end * 2])
    return text.encode(dice.choice(["utf-8", "utf-8-sig", "utf-16"]))


@pytest.mark.parametrize("output", ["append", "replace"])
async def test_random_tables_are_read_again_with_the_same_rows(
    resources: Resources, tmp_path: Path, output: str
) -> None:
    dice, accepted = random.Random(f"earlier {output}"), 0
    for _ in range(60):
        fields = {"output": output, "on_invalid": "skip"}
        upload = read(random_table(dice), tmp_path / "table", manifest_limits(resources.settings), fields)
        try:
            first = await store(resources, upload)
        except Refusal:
            continue
        accepted += 1
        assert await rows_of(resources, first) == await rows_of(resources, await stored_again(resources, upload))
    assert accepted > 20


async def test_what_became_of_the_images_does_not_matter(resources: Resources, tmp_path: Path) -> None:
    data, fields = ODDITIES["invalid urls"]
    upload = read(data, tmp_path / "table", manifest_limits(resources.settings), fields)
    first, second = await store(resources, upload), await store(resources, upload)
    async with resources.sessions.write() as session:  # a redirect to an invalid address, and a retried one
        failed = sa.update(Asset).where(col(Asset.batch_id) == second)
        await session.exec(
            failed.where(col(Asset.position) == 2).values(status="failed", error_code="invalid_url", error_detail="x")
        )
        await session.exec(
            failed.where(col(Asset.position) == 0).values(status="pending", error_code=None, error_detail=None)
        )
    assert await rows_of(resources, first) == await rows_of(resources, await stored_again(resources, upload))


async def test_the_newest_batch_of_the_same_url_and_reading_is_found(resources: Resources, tmp_path: Path) -> None:
    data, limits = ODDITIES["sep"][0], manifest_limits(resources.settings)
    upload = read(data, tmp_path / "table", limits, {})
    first, second = await store(resources, upload), await store(resources, upload)
    await store(resources, replace(upload, source=None, source_url=None))  # sent as a file
    await store(resources, replace(upload, source={**(upload.source or {}), "url": "https://b.example/"}))
    await store(resources, replace(upload, source={**(upload.source or {}), "reading": "another"}))

    async def find(**changes: Any) -> str | None:
        options = {"reading": reading_of(upload, limits, MAX_BYTES), "api_key_id": LOCAL_KEY, **changes}
        found = await find_earlier(upload, sessions=resources.sessions, **options)
        return found and found[0]

    assert await find() == second != first
    assert await find(api_key_id="key_other") is None
    stricter = reading_of(upload, replace(limits, max_url_length=20), MAX_BYTES)
    assert await find(reading=stricter) is None


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://shop.example/feed.xml", "https://shop.example/feed.xml"),
        ("https://shop.example/feed.xml#top", "https://shop.example/feed.xml"),
        ("https://shop.example/export?format=csv&token=secret", "https://shop.example/export?e56d9628de47"),
        ("https://shop.example/export?format=csv&token=other", "https://shop.example/export?00937e52c2e6"),
    ],
)
def test_a_catalogue_is_named_after_its_url_without_the_secrets(url: str, name: str) -> None:
    assert catalogue_of(url) == name


def test_a_long_url_gives_a_name_that_fits_and_differs() -> None:
    long = [catalogue_of("https://shop.example/" + "a" * 300 + end) for end in ("", "b")]
    assert [len(name) for name in long] == [255, 255]
    assert len(set(long)) == 2


class DeletingSessions:
    """Sessions of a database in which the batch is deleted, with some of its rows, before the second read."""

    def __init__(self, sessions: Sessions, batch_id: str) -> None:
        self._sessions, self._batch_id, self._reads = sessions, batch_id, 0

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        self._reads += 1
        if self._reads == 2:
            async with self._sessions.write() as session:
                now = datetime.now(UTC)
                await session.exec(sa.update(Batch).where(col(Batch.id) == self._batch_id).values(deleted_at=now))
                await session.exec(sa.delete(Asset).where(col(Asset.batch_id) == self._batch_id))
        async with self._sessions.read() as session:
            yield session


async def test_a_batch_that_is_deleted_while_it_is_read_is_not_used(resources: Resources, tmp_path: Path) -> None:
    limits = manifest_limits(resources.settings)
    upload = read(ODDITIES["repeated urls"][0], tmp_path / "table", limits, {})
    batch_id = await store(resources, upload)
    assert await read_known_file(batch_id, upload, limits=limits, sessions=resources.sessions)
    sessions = cast("Sessions", DeletingSessions(resources.sessions, batch_id))
    assert await read_known_file(batch_id, upload, limits=limits, sessions=sessions) is None
