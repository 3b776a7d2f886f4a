"""The published rules of shops: each row holds up to its limit and not beyond."""

from collections import Counter
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from imgsvc.domain.shop_rules import RULES, ImageFacts, broken_rules

GOOD = ImageFacts(format="jpeg", width=1_600, height=1_600, bytes=300_000)


def broken(**facts: int | str) -> set[str]:
    return {f"{rule.shop.code} {rule.code}" for rule in broken_rules(replace(GOOD, **facts))}  # type: ignore[arg-type]


def test_a_square_jpeg_of_1600_pixels_breaks_no_rule() -> None:
    assert broken() == set()


@pytest.mark.parametrize(
    ("allowed", "beyond", "rules"),
    [
        ({"height": 500}, {"height": 499}, {"google min_size", "meta min_size"}),
        ({"width": 1_000, "height": 900}, {"width": 999, "height": 900}, {"amazon min_size"}),
        ({"width": 5_000}, {"width": 5_001}, {"shopify max_size"}),
        ({"width": 6_400, "height": 10_000}, {"width": 6_401, "height": 10_000}, {"google max_pixels"}),
        ({"width": 10_000}, {"width": 10_001}, {"amazon max_size"}),
        ({"bytes": 8_000_000}, {"bytes": 8_000_001}, {"meta max_bytes"}),
        ({"bytes": 16_000_000}, {"bytes": 16_000_001}, {"google max_bytes"}),
        ({"bytes": 19_999_999}, {"bytes": 20_000_000}, {"shopify max_bytes"}),
        ({"format": "png"}, {"format": "webp"}, {"amazon format", "meta format"}),
        ({"format": "webp"}, {"format": "avif"}, {"google format", "shopify format"}),
        ({"format": "png"}, {"format": "gif"}, {"meta format"}),
    ],
)
def test_each_rule_holds_up_to_its_limit(
    allowed: dict[str, int | str], beyond: dict[str, int | str], rules: set[str]
) -> None:
    assert broken(**beyond) - broken(**allowed) == rules


def test_every_rule_has_a_source_a_date_and_a_name_of_its_own() -> None:
    assert max(Counter((rule.shop.code, rule.code) for rule in RULES).values()) == 1
    for rule in RULES:
        assert urlsplit(rule.shop.source).scheme == "https"
        assert rule.shop.read.year >= 2026
        assert not rule.demand.endswith(".")
