"""Keys of stored files: the same for the same bytes, safe everywhere, and recognised again."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.domain.media_keys import (
    content_of,
    digest,
    digest_in,
    folder_of,
    key_hash,
    new_media_folder,
    parse_batch_key,
    rendition_key,
)
from imgsvc.domain.names import slug

BATCH_ID = "bat_01kjf0v2x8e4d7t1q9w5r3m6nz"
FOLDER = "0123456789abcdef01234567"


def key(**changed: str) -> str:
    fields = {"name": "shoe-1", "rendition": "main", "digest": digest(b"shoe"), "extension": "jpg", **changed}
    return rendition_key(folder=FOLDER, **fields)


def test_a_media_folder_is_random() -> None:
    folders = {new_media_folder() for _ in range(1_000)}
    assert len(folders) == 1_000
    assert all(re.fullmatch("[0-9a-f]{24}", folder) for folder in folders)


def test_a_key_follows_from_the_bytes_and_the_name() -> None:
    assert key() == f"{FOLDER}/shoe-1-57nbzesssgtuyun3.jpg"
    assert key(rendition="thumb", extension="webp") == f"{FOLDER}/shoe-1-thumb-57nbzesssgtuyun3.webp"
    assert key(digest=digest(b"boot")) != key()
    assert len({key_hash(key()), key_hash(key(name="shoe-2")), key_hash(key(rendition="thumb"))}) == 3


def test_the_content_of_a_key_is_the_same_for_the_same_bytes() -> None:
    assert content_of(key()) == content_of(key(name="boot", rendition="thumb", extension="webp"))
    assert content_of(key()) != content_of(key(digest=digest(b"boot")))
    earlier = [f"{BATCH_ID}/{position}-shoe-0a1b2c3d.jpg" for position in (7, 8)]
    assert [content_of(each) for each in earlier] == earlier


@given(
    st.text(),
    st.binary(),
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True),
    st.sampled_from(["jpg", "png", "webp", "avif", "gif"]),
)
def test_every_key_is_recognised(text: str, data: bytes, rendition: str, extension: str) -> None:
    made = key(name=slug(text) or "x", rendition=rendition, digest=digest(data), extension=extension)
    assert folder_of(made) == FOLDER
    assert digest_in(made) == digest(data)
    assert parse_batch_key(made) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{FOLDER}/",
        f"{FOLDER}/shoe.jpg",
        f"{FOLDER}/-{digest(b'')}.jpg",
        f"{FOLDER}/shoe/../../other-{digest(b'')}.jpg",
        f"../{FOLDER}/shoe-{digest(b'')}.jpg",
        f"{FOLDER}/shoe-{digest(b'')}.jpg\n",
        f"{FOLDER}/shoe-{digest(b'')}.jpg#1",
        f"{FOLDER[1:]}/shoe-{digest(b'')}.jpg",
        f"{FOLDER}/shoe-{digest(b'')[1:]}.jpg",
        f".check-{'0' * 16}",
    ],
)
def test_an_impossible_key_has_no_folder(text: str) -> None:
    assert folder_of(text) is None


def test_a_key_of_an_earlier_version_belongs_to_its_batch() -> None:
    assert parse_batch_key(f"{BATCH_ID}/7-shoe-0a1b2c3d.jpg") == (BATCH_ID, 7)
    assert folder_of(f"{BATCH_ID}/7-shoe-0a1b2c3d.jpg") is None


@pytest.mark.parametrize(
    "text",
    [
        f"{BATCH_ID}/",
        f"{BATCH_ID}/7.jpg",
        f"{BATCH_ID}/-shoe-0a1b2c3d.jpg",
        f"{BATCH_ID}/7-shoe/../../other.jpg",
        f"../{BATCH_ID}/7-shoe-0a1b2c3d.jpg",
        f"{BATCH_ID}/7-shoe-0a1b2c3d.jpg\n",
        f"{BATCH_ID}/7-shoe-0a1b2c3d",
        f"{BATCH_ID}/9999999999-shoe-0a1b2c3d.jpg",
        f"{BATCH_ID[:-1]}/7-shoe-0a1b2c3d.jpg",
        f"evt{BATCH_ID[3:]}/7-shoe-0a1b2c3d.jpg",
    ],
)
def test_an_impossible_key_of_a_batch_is_none(text: str) -> None:
    assert parse_batch_key(text) is None
