"""A cache of conversions from ICC profiles to sRGB: the images of a catalogue often share a profile."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from PIL import ImageCms

Transform = ImageCms.ImageCmsTransform

MAX_CACHE_BYTES = 16 * 2**20
TRANSFORM_BYTES = 200_000
"""Memory of a conversion in addition to the size of its profile."""
NO_TRANSFORM_BYTES = 1_000
"""Memory of an entry for a profile that needs no conversion."""


class TransformCache:
    """The most recently used conversions by profile and mode; thread-safe."""

    def __init__(self, make: Callable[[bytes, str], Transform | None], max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._make = make
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[bytes, str], tuple[Transform | None, int]] = OrderedDict()
        self.bytes = 0

    def get(self, icc: bytes, mode: str) -> Transform | None:
        """Return the conversion for images of `mode` with the profile `icc`, None if none is needed or possible."""
        key = sha256(icc).digest(), mode
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key][0]
        transform = self._make(icc, mode)
        self._store(key, transform, NO_TRANSFORM_BYTES if transform is None else len(icc) + TRANSFORM_BYTES)
        return transform

    def _store(self, key: tuple[bytes, str], transform: Transform | None, size: int) -> None:
        with self._lock:
            if key not in self._entries:
                self.bytes += size
            self._entries[key] = transform, size
            while self.bytes > self._max_bytes:
                _, (_, freed) = self._entries.popitem(last=False)
                self.bytes -= freed
