"""The child processes in which catalogues are read and written: a hostile file ends only the child that reads it."""

import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from imgsvc.adapters.sandbox.child_pool import LINGER, Child, ChildDied, ChildPool, InvalidMessage, NotStarted
from imgsvc.adapters.sandbox.framing import frame
from imgsvc.adapters.sandbox.serve import CRASHES, OUT_OF_MEMORY
from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.domain.manifest.formats.convert import Conversion, Converted
from imgsvc.domain.manifest.formats.report_shape import ReportShape
from imgsvc.domain.manifest.records import refused
from imgsvc.errors import InvalidManifest, LimitExceeded, Problem, Refusal, SandboxUnavailable, StorageError
from imgsvc.logs import get_logger
from imgsvc.services.codec.watchdog import Watchdog

log = get_logger(__name__)
T = TypeVar("T")

READ_SECONDS = 60.0
"""CPU seconds to read a file."""
WRITE_SECONDS = 600.0
"""CPU seconds to write a report. XlsxWriter took about 10 µs per cell."""
_MAX_MESSAGE = 2**24
"""Bytes of a response: problems, a header, and the facts about a file."""


class TableSandbox:
    """The port `TableConverter`, with one pool of children to read and one to write."""

    def __init__(self, readers: ChildPool, writers: ChildPool) -> None:
        self.readers, self.writers = readers, writers

    async def read(self, data: bytes, conversion: Conversion, target: Path) -> Converted:
        request = {"conversion": asdict(conversion), "target": str(target)}

        async def work(child: Child) -> Converted | Exception:
            try:
                return await self.readers.call(child, request, data, parse=_parse_converted)
            except ChildDied as exc:
                fault = _fault(child, exc)
                detail = f"Reading the file {fault} and was stopped. Save it again as CSV, or split it."
                raise refused([Problem("unreadable_file", detail)]) from exc.__cause__

        return _returned(await self.readers.with_child(work))

    async def write(
        self, name: str, shape: ReportShape, pages: AsyncIterator[Sequence[Sequence[str]]], target: Path
    ) -> None:
        file_format = shape.file_format.model_dump(mode="json")
        fields = {"header": list(shape.header), "link_columns": list(shape.link_columns), "file_format": file_format}
        request = {"format": name, "shape": fields, "target": str(target)}

        async def work(child: Child) -> Exception | None:
            async with self.writers.reserved(child) as watch:
                try:
                    await self.writers.begin(child, request, b"", watch)
                except (EOFError, OSError) as exc:
                    raise NotStarted from exc
                try:
                    await _send_pages(child, pages)
                    return _parse_written(*await self.writers.receive(child))
                except (EOFError, OSError) as exc:
                    await self.writers.bury(child)
                    fault = _fault(child, exc)
                    raise LimitExceeded(f"Writing the file {fault}; download output.csv instead.") from exc

        _returned(await self.writers.with_child(work))


async def _send_pages(child: Child, pages: AsyncIterator[Sequence[Sequence[str]]]) -> None:
    async for page in pages:
        body = json.dumps([[*row] for row in page], ensure_ascii=False).encode()
        child.process.stdin.write(frame({}, len(body)) + body)
        await child.process.stdin.drain()
    child.process.stdin.write(frame({}))
    await child.process.stdin.drain()


def _parse_converted(head: dict[str, Any], _body: bytes) -> Converted | Exception:
    if error := _parse_error(head):
        return error
    return Converted(**head | {"file_format": FileFormat.model_validate(head["file_format"])})


def _parse_written(head: dict[str, Any], _body: bytes) -> Exception | None:
    return _parse_error(head)


def _parse_error(head: dict[str, Any]) -> Exception | None:
    if "disk" in head:
        return StorageError(f"a converted file could not be written to the disk: {head['disk']}")
    if "refused" not in head:
        return None
    problems = tuple(Problem(**fields) for fields in head["problems"])
    kind: type[Refusal] = LimitExceeded if head["refused"] == "limit" else InvalidManifest
    return kind(head["detail"], problems, problems_total=head["total"])


def _returned(result: T | Exception) -> T:
    if isinstance(result, Exception):
        raise result
    return result


def _fault(child: Child, died: Exception) -> str:
    """Return how a file ended its child.

    Raises:
        SandboxUnavailable: the child was killed from outside, which is not the file's fault.
    """
    code = child.process.returncode
    log.warning("table_child_crashed", pid=child.process.pid, exit_code=code, overran=child.overran)
    if child.overran or code == -signal.SIGXCPU:
        return "took too long"
    if code in (OUT_OF_MEMORY, -signal.SIGABRT):  # Rust aborts when there is no memory
        return "took too much memory"
    if isinstance(died, InvalidMessage) or code is None or code >= 0 or code in CRASHES:
        return "failed"
    raise SandboxUnavailable("The process that converts the file was killed.") from died


@asynccontextmanager
async def open_tables(*, memory: int) -> AsyncIterator[TableSandbox]:
    """Open the sandbox of tables, whose children have `memory` bytes of address space each."""
    async with AsyncExitStack() as stack:
        pools = []
        for seconds in (READ_SECONDS, WRITE_SECONDS):
            watchdog = await stack.enter_async_context(Watchdog(seconds))
            pool = ChildPool(
                "imgsvc.adapters.sandbox.table_child",
                json.dumps({"memory": memory, "seconds": seconds}),
                max_message=_MAX_MESSAGE,
                watchdog=watchdog,
                linger=LINGER,
            )
            stack.push_async_callback(pool.aclose)
            pools.append(pool)
        yield TableSandbox(*pools)
