"""The choice of a storage by its URL."""

from pathlib import Path

import pytest

from imgsvc.adapters.storage.local_disk import LocalDisk
from imgsvc.adapters.storage.object_store import ObjectStore
from imgsvc.adapters.storage.open_storage import open_storage
from imgsvc.errors import StorageError


@pytest.mark.parametrize("scheme", ["file", "FILE"])
def test_a_file_url_opens_the_local_disk(tmp_path: Path, scheme: str) -> None:
    assert isinstance(open_storage(f"{scheme}://{tmp_path}"), LocalDisk)


def test_a_bucket_url_opens_an_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert isinstance(open_storage("s3://images"), ObjectStore)


@pytest.mark.parametrize("url", ["memory:///", "ftp://somewhere/else", "nonsense", "s3://[half"])
def test_an_unsupported_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(StorageError) as refused:
        open_storage(url)
    assert url in str(refused.value)
