"""Identifiers: their order, their safety, and parsing a key back to its asset."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.domain.ids import new_id, parse_rendition_key, rendition_key, slug

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
BATCH_ID = "bat_01kjf0v2x8e4d7t1q9w5r3m6nz"


def test_an_id_has_its_prefix_and_26_characters_that_can_be_read_over_the_phone() -> None:
    assert re.fullmatch(r"evt_[0-9a-hjkmnp-tv-z]{26}", new_id("evt", NOW))


def test_ids_sort_by_the_time_they_were_made() -> None:
    moments = [NOW + timedelta(milliseconds=step) for step in range(200)]
    ids = [new_id("bat", moment) for moment in moments]
    assert ids == sorted(ids)


def test_ids_of_one_moment_share_ten_characters_and_differ_in_80_bits() -> None:
    ids = {new_id("bat", NOW) for _ in range(1_000)}
    assert len(ids) == 1_000
    assert len({each[:14] for each in ids}) == 1
    assert all(len({each[index] for each in ids}) > 16 for index in range(14, 30))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Running Shoe", "running-shoe"),
        ("  Crème brûlée – № 5! ", "creme-brulee-no-5"),
        ("../../etc/passwd", "etc-passwd"),
        ("靴", "image"),
        ("---", "image"),
        ("", "image"),
        ("a" * 39 + " b", "a" * 39),
    ],
)
def test_a_slug_resembles_its_text(text: str, expected: str) -> None:
    assert slug(text) == expected


@given(st.text())
def test_a_slug_is_safe_in_any_url_and_file_name(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug(text))
    assert len(slug(text)) <= 40


def key(**changed: str | int) -> str:
    fields = {"position": 7, "slug": "shoe", "name": "main", "digest": "0a1b2c3d", "extension": "jpg", **changed}
    return rendition_key(batch_id=BATCH_ID, **fields)  # type: ignore[arg-type]


def test_only_further_renditions_have_their_name_in_the_key() -> None:
    assert key() == f"{BATCH_ID}/7-shoe-0a1b2c3d.jpg"
    assert key(name="thumb", extension="webp") == f"{BATCH_ID}/7-shoe-thumb-0a1b2c3d.webp"


@given(
    st.integers(0, 249_999),
    st.text(),
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True),
    st.sampled_from(["jpg", "png", "webp", "avif", "gif"]),
)
def test_every_generated_key_parses_back_to_its_asset(position: int, text: str, name: str, extension: str) -> None:
    generated = key(position=position, slug=slug(text), name=name, extension=extension)
    assert parse_rendition_key(generated) == (BATCH_ID, position)


def test_a_generated_batch_id_parses_in_a_key() -> None:
    batch_id = new_id("bat", NOW)
    assert parse_rendition_key(f"{batch_id}/0-image-0a1b2c3d.png") == (batch_id, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
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
        f".check-{'0' * 16}",
    ],
)
def test_an_impossible_key_parses_to_none(text: str) -> None:
    assert parse_rendition_key(text) is None
