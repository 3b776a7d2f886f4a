"""The sandbox of catalogues with real processes: what is refused, who is blamed, and what the next file gets."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from imgsvc.adapters.sandbox.child_pool import ChildPool
from imgsvc.adapters.sandbox.tables import TableSandbox, open_tables
from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.formats.convert import Conversion
from imgsvc.domain.manifest.formats.report_shape import ReportShape
from imgsvc.domain.manifest.model import DEFAULT_LIMITS
from imgsvc.errors import InvalidManifest, LimitExceeded, SandboxUnavailable, StorageError
from imgsvc.services.codec.watchdog import Watchdog
from support.stack import until
from support.workbooks import changed_member, read_table, workbook

MEMORY = 2**30
CONVERSION = Conversion(DEFAULT_LIMITS, 2**26)
BOOK = workbook([["Name", "Price"], ["Mug", 1]])
SHAPE = ReportShape(["Name"], [], FileFormat())


@pytest.fixture
async def tables() -> AsyncIterator[TableSandbox]:
    async with open_tables(memory=MEMORY) as tables:
        yield tables


@asynccontextmanager
async def impatient_tables() -> AsyncIterator[TableSandbox]:
    """Open a sandbox that allows one second of CPU time."""
    async with AsyncExitStack() as stack:
        watchdog = await stack.enter_async_context(Watchdog(1))
        argument = json.dumps({"memory": MEMORY, "seconds": 1})
        pool = ChildPool(
            "imgsvc.adapters.sandbox.table_child", argument, max_message=2**20, watchdog=watchdog, linger=60
        )
        stack.push_async_callback(pool.aclose)
        yield TableSandbox(pool, pool)


def slow_feed() -> bytes:
    """Return a feed whose reading takes several seconds."""
    items = "<item><a>1</a><b>2</b></item>" * 1_000_000
    return f'<?xml version="1.0"?><rss><channel>{items}</channel></rss>'.encode()


async def test_a_workbook_is_read_and_a_refusal_does_not_end_the_process(tables: TableSandbox, tmp_path: Path) -> None:
    converted = await tables.read(BOOK, CONVERSION, tmp_path / "table")
    assert converted.header == ["Name", "Price"]
    assert json.loads((tmp_path / "table").read_text()) == [2, "Mug", "1"]
    [pid] = tables.readers.pids
    with pytest.raises(InvalidManifest) as refused:
        await tables.read(BOOK[:100], CONVERSION, tmp_path / "table")
    assert refused.value.problems[0].code == "damaged_file"
    with pytest.raises(LimitExceeded):
        await tables.read(BOOK, Conversion(DEFAULT_LIMITS, 5), tmp_path / "table")
    assert tables.readers.pids == [pid]


async def test_a_workbook_that_takes_too_much_memory_is_refused(tables: TableSandbox, tmp_path: Path) -> None:
    far = '<c r="ALL1048576"><v>1</v></c></row></sheetData>'  # a table of a thousand million cells
    huge = changed_member(BOOK, "xl/worksheets/sheet1.xml", "</row></sheetData>", far)
    with pytest.raises(InvalidManifest) as refused:
        await tables.read(huge, CONVERSION, tmp_path / "table")
    assert refused.value.problems[0].code == "unreadable_file"
    assert "too much memory" in refused.value.detail
    await tables.read(BOOK, CONVERSION, tmp_path / "table")


async def test_a_file_that_takes_too_long_is_refused_and_a_killed_process_is_not_its_fault(tmp_path: Path) -> None:
    async with impatient_tables() as tables:
        with pytest.raises(InvalidManifest, match="took too long"):
            await tables.read(slow_feed(), CONVERSION, tmp_path / "table")
        await tables.read(BOOK, CONVERSION, tmp_path / "table")
        [pid] = tables.readers.pids
        before = psutil.Process(pid).cpu_times().user
        reading = asyncio.create_task(tables.read(slow_feed(), CONVERSION, tmp_path / "table"))

        async def is_reading() -> bool:
            return bool(psutil.Process(pid).cpu_times().user > before + 0.1)

        await until(is_reading)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(SandboxUnavailable):
            await reading


async def test_a_full_disk_is_not_the_files_fault(tables: TableSandbox) -> None:
    with pytest.raises(StorageError):
        await tables.read(BOOK, CONVERSION, Path("/dev/full"))


async def test_a_report_is_written_page_by_page_and_the_next_by_the_same_process(
    tables: TableSandbox, tmp_path: Path
) -> None:
    async def pages() -> AsyncIterator[Sequence[Sequence[str]]]:
        for number in range(3):
            yield [[f"page {number}"]]

    for _ in range(2):
        await tables.write("xlsx", SHAPE, pages(), tmp_path / "report")
        rows = read_table((tmp_path / "report").read_bytes()).rows
        assert rows == [["Name"], ["page 0"], ["page 1"], ["page 2"]]
    assert len(tables.writers.pids) == 1
    with pytest.raises(StorageError):
        await tables.write("xlsx", SHAPE, pages(), Path("/dev/full"))
    await tables.write("xlsx", SHAPE, pages(), tmp_path / "report")


async def test_a_report_that_takes_too_long_is_refused_in_words(tmp_path: Path) -> None:
    async def pages() -> AsyncIterator[Sequence[Sequence[str]]]:
        while True:
            yield [["row"]] * 1_000

    async with impatient_tables() as tables:
        with pytest.raises(LimitExceeded, match="Writing the file took too long; download output"):
            await tables.write("ods", SHAPE, pages(), tmp_path / "report")


async def test_a_report_that_is_no_longer_wanted_ends_its_process(tables: TableSandbox, tmp_path: Path) -> None:
    started = asyncio.Event()

    async def pages() -> AsyncIterator[Sequence[Sequence[str]]]:
        yield [["first"]]
        started.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(tables.write("ods", SHAPE, pages(), tmp_path / "report"))
    await started.wait()
    [pid] = tables.writers.pids
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert not psutil.pid_exists(pid)
