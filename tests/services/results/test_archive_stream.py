"""The archive is made while it is sent: nothing is read before there is somebody to take it."""

from collections.abc import AsyncGenerator

from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Batch
from imgsvc.services.results.archive import stream_archive
from support.verbs import ended_batch

MIB = 2**20


class Endless:
    """Storage of large files, which tells how much of them was read, and whether a reader left one open."""

    def __init__(self) -> None:
        self.read_bytes = 0
        self.open = 0

    async def read(self, key: str) -> AsyncGenerator[bytes, None]:
        self.open += 1
        try:
            for _ in range(32):
                self.read_bytes += MIB
                yield bytes(MIB)
        finally:
            self.open -= 1


async def batch_of_three(parts: Resources) -> Batch:
    return await ended_batch(parts, None, None, None)


async def test_it_reads_no_more_than_is_taken(resources: Resources) -> None:
    reader = Endless()
    sizes = []
    async for piece in stream_archive(await batch_of_three(resources), sessions=resources.sessions, reader=reader):
        sizes.append(len(piece))
        assert reader.read_bytes <= sum(sizes) + MIB
    assert max(sizes) <= MIB + 1_000
    assert sum(sizes) > 3 * 32 * MIB


async def test_when_nobody_takes_it_any_more_the_file_is_closed(resources: Resources) -> None:
    reader = Endless()
    content = stream_archive(await batch_of_three(resources), sessions=resources.sessions, reader=reader)
    await anext(content)
    assert reader.open == 1
    await content.aclose()
    assert reader.open == 0
