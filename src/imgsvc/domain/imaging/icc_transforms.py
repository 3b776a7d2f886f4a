"""Conversions by ICC profile to sRGB, kept for the next image of the same catalogue, within so many bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from PIL import ImageCms

Transform = ImageCms.ImageCmsTransform

KEPT_BYTES = 16 * 2**20
"""Of the profiles whose conversions are kept: a conversion takes as much memory as its profile, and 0.2 MB."""
OVERHEAD = 200_000
NOTHING = 1_000
"""Bytes that a profile counts for which needs no conversion."""


class TransformCache:
    """Conversions by profile and mode, those used last; any thread may ask for one."""

    def __init__(self, make: Callable[[bytes, str], Transform | None], kept_bytes: int = KEPT_BYTES) -> None:
        self._make = make
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[bytes, str], tuple[Transform | None, int]] = OrderedDict()
        self.bytes = 0

    def get(self, icc: bytes, mode: str) -> Transform | None:
        """The conversion for images of `mode` with the profile `icc`, None where there is none to make."""
        key = sha256(icc).digest(), mode
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        made = self._make(icc, mode)
        self._keep(key, made, NOTHING if made is None else len(icc) + OVERHEAD)
        return made

    def _keep(self, key: tuple[bytes, str], made: Transform | None, size: int) -> None:
        with self._lock:
            if key not in self._kept:
                self.bytes += size
            self._kept[key] = made, size
            while self.bytes > self._kept_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self.bytes -= freed
