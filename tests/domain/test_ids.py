"""Identifiers: their order and their safety."""

import re
from datetime import UTC, datetime, timedelta

from imgsvc.domain.ids import new_id

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


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
