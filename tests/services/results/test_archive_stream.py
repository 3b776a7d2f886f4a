"""The archive is created while it is sent: files are read only as fast as the client takes them."""

from collections.abc import AsyncGenerator

from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Batch
from imgsvc.services.ports import OpenObject, Part
from imgsvc.services.results.archive import stream_archive
from support.verbs import ended_batch

MIB = 2**20


class LargeFiles:
    """A storage of large files that counts the bytes read and the open files."""

    def __init__(self) -> None:
        self.read_bytes = 0
        self.open_files = 0

    async def open(self, key: str, part: Part | None = None) -> OpenObject:
        return OpenObject(32 * MIB, self._chunks())

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        self.open_files += 1
        try:
            for _ in range(32):
                self.read_bytes += MIB
                yield bytes(MIB)
        finally:
            self.open_files -= 1


async def batch_of_three(resources: Resources) -> Batch:
    return await ended_batch(resources, None, None, None)


async def test_the_archive_reads_no_further_ahead_than_one_chunk(resources: Resources) -> None:
    reader = LargeFiles()
    sizes = []
    async for chunk in stream_archive(await batch_of_three(resources), sessions=resources.sessions, reader=reader):
        sizes.append(len(chunk))
        assert reader.read_bytes <= sum(sizes) + MIB
    assert max(sizes) <= MIB + 1_000
    assert sum(sizes) > 3 * 32 * MIB


async def test_the_open_file_is_closed_when_the_client_disconnects(resources: Resources) -> None:
    reader = LargeFiles()
    content = stream_archive(await batch_of_three(resources), sessions=resources.sessions, reader=reader)
    await anext(content)
    assert reader.open_files == 1
    await content.aclose()
    assert reader.open_files == 0
