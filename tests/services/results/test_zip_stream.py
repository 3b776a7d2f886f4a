"""The stream is a ZIP that others read, whatever is in it and however much."""

import io
import random
from datetime import UTC, datetime
from zipfile import ZipFile

from imgsvc.services.results.zip_stream import CHUNK, ZipStream

NOON = datetime(2026, 11, 23, 12, 34, 56, tzinfo=UTC)


def zipped(files: dict[str, list[bytes]], moment: datetime = NOON) -> bytes:
    stream = ZipStream(moment)
    parts = []
    for name, pieces in files.items():
        parts += [stream.begin(name), *map(stream.write, pieces), stream.end()]
    return b"".join([*parts, *stream.finish()])


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


FILES = {
    "0-mug.jpg": [noise(100_000)],
    "1-many-pieces.png": [noise(70_000), noise(1), noise(300_000)],
    "2-empty.webp": [],
    "3-naïve ☕.avif": [b"a"],
}


def test_what_goes_in_comes_out() -> None:
    bundle = ZipFile(io.BytesIO(zipped(FILES)))
    assert bundle.testzip() is None
    assert bundle.namelist() == list(FILES)
    for name, pieces in FILES.items():
        assert bundle.read(name) == b"".join(pieces)
    assert {entry.date_time for entry in bundle.infolist()} == {(2026, 11, 23, 12, 34, 56)}


def test_nothing_at_all_is_a_zip_too() -> None:
    assert ZipFile(io.BytesIO(zipped({}))).namelist() == []


def test_a_time_before_there_were_zips_is_moved() -> None:
    old = ZipFile(io.BytesIO(zipped({"a": []}, datetime(1970, 1, 1, tzinfo=UTC))))
    assert old.infolist()[0].date_time[0] == 1980


def test_more_entries_than_the_first_zips_could_have_are_all_there() -> None:
    names = [f"{number}.jpg" for number in range(70_000)]
    stream = ZipStream(NOON)
    parts = [part for name in names for part in (stream.begin(name), stream.write(b"x"), stream.end())]
    ends = list(stream.finish())
    assert max(map(len, ends)) <= CHUNK
    assert ZipFile(io.BytesIO(b"".join([*parts, *ends]))).namelist() == names


def test_entries_behind_4_gib_are_found() -> None:
    stream = ZipStream(NOON)
    first = stream.begin("a.jpg") + stream.write(b"first") + stream.end()
    stream._offset += 5 * 2**30  # as if as much lay between
    second = stream.begin("b.jpg") + stream.write(b"second") + stream.end()
    gap = Sparse(first, 5 * 2**30, second + b"".join(stream.finish()))
    bundle = ZipFile(gap)
    assert bundle.read("b.jpg") == b"second"


class Sparse(io.RawIOBase):
    """A file with a large hole between two parts."""

    def __init__(self, first: bytes, hole: int, last: bytes) -> None:
        self.parts, self.hole, self.place = (first, last), hole, 0
        self.size = len(first) + hole + len(last)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = 0) -> int:
        self.place = place + (0, self.place, self.size)[whence]
        return self.place

    def announce(self) -> int:
        return self.place

    def read(self, size: int = -1) -> bytes:
        first, last = self.parts
        begin = len(first) + self.hole
        end = self.size if size < 0 else min(self.size, self.place + size)
        place, self.place = self.place, end
        return first[place:end] if place < len(first) else last[place - begin : end - begin]
