"""Convert an upload that is not a CSV to a file on the disk, in a process that may die."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from imgsvc.domain.manifest.formats.convert import Conversion
from imgsvc.domain.manifest.rows_file import RowsFile
from imgsvc.errors import StorageError
from imgsvc.services.ports import TableConverter
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.flow import Flow

SLOTS = 2
"""Files converted at once: each may take the memory of a sandbox process."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A converted upload that is text in the format `name`, to be read as CSV."""

    path: Path
    name: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size


@contextmanager
def temporary_file() -> Iterator[Path]:
    """Yield a path for a file on the disk, where large uploads are; it is removed after the block.

    Raises:
        StorageError: the disk is full or fails.
    """
    try:
        folder = TemporaryDirectory(prefix="imgsvc-table-", ignore_cleanup_errors=True)
    except OSError as exc:
        raise StorageError(f"a temporary file could not be created: {exc}") from exc
    with folder as path:
        yield Path(path) / "table"


class FileConverter:
    """Converts a few files at once; API keys take turns."""

    def __init__(self, converter: TableConverter) -> None:
        self._converter = converter
        self._slots = FairSemaphore(SLOTS)

    async def convert(self, data: bytes, conversion: Conversion, path: Path, *, api_key_id: str) -> RowsFile | TextFile:
        """Write the text or the rows of `data` to `path`.

        Raises:
            InvalidManifest, LimitExceeded: the file is not acceptable.
            SandboxUnavailable: no process can be started now.
            StorageError: the disk is full or fails.
        """
        with await self._slots.acquire(Flow(api_key_id, batch_id="")):
            converted = await self._converter.read(data, conversion, path)
        if converted.header is None:
            return TextFile(path, converted.file_format.format)
        return RowsFile(path, converted.header, converted.header_row, converted.file_format, converted.unit)
