"""Chooses the storage for a URL."""

from typing import Protocol

from imgsvc.adapters.storage.calls import DEFAULT_TIMEOUT
from imgsvc.adapters.storage.local_disk import LocalDisk
from imgsvc.adapters.storage.object_store import ObjectStore
from imgsvc.services.ports import Inventory, ObjectReader, Storage


class StorageBackend(Storage, ObjectReader, Inventory, Protocol):
    """One object that implements all three storage ports."""


class _Backend(Protocol):
    """The constructor of a storage."""

    def __call__(self, url: str, *, timeout: float) -> StorageBackend: ...


BACKENDS: dict[str, _Backend] = {"file": LocalDisk}
"""The class for each URL scheme. `ObjectStore` opens every other scheme that obstore knows, and rejects the rest."""


def open_storage(url: str, *, timeout: float = DEFAULT_TIMEOUT) -> StorageBackend:
    """Open the storage at `url`; each call may take `timeout` seconds. No network is used yet.

    Raises:
        StorageError: the storage cannot be opened, or there is none for this scheme.
    """
    return BACKENDS.get(url.partition(":")[0].lower(), ObjectStore)(url, timeout=timeout)
