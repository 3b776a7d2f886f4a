"""The limit: Pillow alone decoding and encoding on all cores, from memory, one process per core."""

import multiprocessing
import os
from io import BytesIO
from time import perf_counter
from typing import BinaryIO

from PIL import Image

from imgsvc.cli.stack import WORKER_MALLOC

QUALITY = 50


CORES = os.cpu_count() or 1


def images_per_second(bodies: list[bytes], *, images: int, processes: int = CORES) -> float:
    """Measure images per second over `images` images in total; every process warms up before the clock starts."""
    os.environ |= WORKER_MALLOC  # the best limit: without these, Pillow alone reaches little more than half of it
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    workers = [context.Process(target=_work, args=(bodies, images // processes, barrier)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    barrier.wait()
    started = perf_counter()
    for worker in workers:
        worker.join()
    seconds = perf_counter() - started
    for name in WORKER_MALLOC:
        del os.environ[name]
    return images // processes * processes / seconds


def _work(bodies: list[bytes], images: int, barrier: "multiprocessing.synchronize.Barrier") -> None:
    descriptor = os.memfd_create("limit")
    with os.fdopen(descriptor, "w+b") as file:
        for number in range(8):
            _compress(bodies[number % len(bodies)], file)
        barrier.wait()
        for number in range(images):
            _compress(bodies[number % len(bodies)], file)


def _compress(body: bytes, file: BinaryIO) -> None:
    image = Image.open(BytesIO(body))
    file.seek(0)
    file.truncate()
    image.save(file, "JPEG", quality=QUALITY)
