"""The stream is a ZIP that Python's zipfile reads, with any number and size of files."""

import io
import random
from datetime import UTC, datetime
from zipfile import ZipFile

from imgsvc.services.results.zip_stream import CHUNK, ZipStream

NOON = datetime(2026, 11, 23, 12, 34, 56, tzinfo=UTC)


def zipped(files: dict[str, list[bytes]], modified: datetime = NOON) -> bytes:
    stream = ZipStream(modified)
    output = []
    for name, chunks in files.items():
        output += [stream.begin(name), *map(stream.write, chunks), stream.end()]
    return b"".join([*output, *stream.finish()])


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


FILES = {
    "0-mug.jpg": [noise(100_000)],
    "1-many-chunks.png": [noise(70_000), noise(1), noise(300_000)],
    "2-empty.webp": [],
    "3-naïve ☕.avif": [b"a"],
}


def test_a_reader_gets_the_files_back() -> None:
    bundle = ZipFile(io.BytesIO(zipped(FILES)))
    assert bundle.testzip() is None
    assert bundle.namelist() == list(FILES)
    for name, chunks in FILES.items():
        assert bundle.read(name) == b"".join(chunks)
    assert {entry.date_time for entry in bundle.infolist()} == {(2026, 11, 23, 12, 34, 56)}


def test_an_archive_without_files_is_valid() -> None:
    assert ZipFile(io.BytesIO(zipped({}))).namelist() == []


def test_a_time_before_1980_becomes_1980() -> None:
    old = ZipFile(io.BytesIO(zipped({"a": []}, datetime(1970, 1, 1, tzinfo=UTC))))
    assert old.infolist()[0].date_time[0] == 1980


def test_more_than_65535_entries_are_all_listed() -> None:
    names = [f"{number}.jpg" for number in range(70_000)]
    stream = ZipStream(NOON)
    entries = [chunk for name in names for chunk in (stream.begin(name), stream.write(b"x"), stream.end())]
    directory = list(stream.finish())
    assert max(map(len, directory)) <= CHUNK
    assert ZipFile(io.BytesIO(b"".join([*entries, *directory]))).namelist() == names


def test_entries_beyond_4_gib_are_found() -> None:
    stream = ZipStream(NOON)
    first = stream.begin("a.jpg") + stream.write(b"first") + stream.end()
    stream.offset += 5 * 2**30  # as if there were other files in between
    second = stream.begin("b.jpg") + stream.write(b"second") + stream.end()
    bundle = ZipFile(SparseFile(first, 5 * 2**30, second + b"".join(stream.finish())))
    assert bundle.read("b.jpg") == b"second"


class SparseFile(io.RawIOBase):
    """A file with a large hole between two blocks of data."""

    def __init__(self, first: bytes, hole: int, last: bytes) -> None:
        self.first, self.last, self.hole, self.position = first, last, hole, 0
        self.size = len(first) + hole + len(last)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def read(self, size: int = -1) -> bytes:
        last_start = len(self.first) + self.hole
        end = self.size if size < 0 else min(self.size, self.position + size)
        start, self.position = self.position, end
        if start < len(self.first):
            return self.first[start:end]
        return self.last[start - last_start : end - last_start]
