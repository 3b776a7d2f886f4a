"""The limit: what Pillow alone decodes and encodes on all cores, from memory, one process per core."""

import multiprocessing
import os
from io import BytesIO
from time import perf_counter
from typing import BinaryIO

from PIL import Image

from imgsvc.up import WORKER_MALLOC

QUALITY = 50


def images_per_second(bodies: list[bytes], *, images: int) -> float:
    """Decode and encode `images` pictures in all; every process is warm before the clock starts."""
    cores = os.cpu_count() or 1
    os.environ |= WORKER_MALLOC  # the limit at its best: without, Pillow alone reaches little more than half of it
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(cores + 1)
    workers = [context.Process(target=_work, args=(bodies, images // cores, barrier)) for _ in range(cores)]
    for worker in workers:
        worker.start()
    barrier.wait()
    started = perf_counter()
    for worker in workers:
        worker.join()
    return images // cores * cores / (perf_counter() - started)


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
