"""Fixtures for the storages; `storage` is every one of them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from imgsvc.adapters.storage.object_store import ObjectStore
from imgsvc.adapters.storage.open_storage import StorageBackend, open_storage
from support.s3 import new_bucket, s3_server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return new_bucket(s3_endpoint, monkeypatch)


@pytest.fixture
def s3(bucket: str) -> StorageBackend:
    return open_storage(bucket)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "with space"


@pytest.fixture
def local_disk(folder: Path) -> StorageBackend:
    return open_storage(folder.as_uri())


@pytest.fixture(params=["local_disk", "s3"])
def storage(request: pytest.FixtureRequest) -> StorageBackend:
    """Each storage in turn: the contract holds for all of them."""
    chosen: StorageBackend = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
async def stored_keys(storage: StorageBackend, request: pytest.FixtureRequest) -> set[str]:
    """1,050 keys that are stored: more than one page."""
    keys = {f"bat_{number % 7}/{number}-shoe-0a1b2c3d.jpg" for number in range(1_050)}
    if isinstance(storage, ObjectStore):  # not over HTTP: moto needs five seconds for that
        name = request.getfixturevalue("bucket").removeprefix("s3://")
        for key in keys:
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(name, key, b"x")
    else:
        await asyncio.gather(*(storage.put(key, b"x", media_type="image/jpeg") for key in keys))
    return keys
