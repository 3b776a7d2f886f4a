"""Remarks are sentences that name the shop, its demand, the image, and whether the original is any better."""

from dataclasses import replace

from imgsvc.domain.remarks import Remark, repeat_remark, shop_remarks
from imgsvc.domain.repeats import Repeat
from imgsvc.domain.shop_rules import AMAZON, GOOGLE, META, RULES, SHOPS, ImageFacts, rules_of

GOOD = ImageFacts(format="jpeg", width=1_600, height=1_200, bytes=300_000)
SMALL = replace(GOOD, width=640, height=480)


def remarks(image: ImageFacts, original: ImageFacts, *shops: str) -> list[Remark]:
    return list(shop_remarks(image, original, rules_of(shops)))


def test_an_image_within_all_limits_has_no_remark() -> None:
    assert remarks(GOOD, GOOD) == []


def test_an_image_that_was_already_too_small_is_the_originals_fault() -> None:
    assert remarks(SMALL, SMALL, "google") == [
        Remark(
            "google_min_size",
            "An image for Google Merchant Center must have at least 500 × 500 pixels (all products from 31 January "
            "2027); this JPEG has 640 × 480 pixels and 300,000 bytes, and its original breaks it as well.",
            GOOGLE.source,
            GOOGLE.read.isoformat(),
        )
    ]


def test_an_image_that_became_too_small_has_a_better_original() -> None:
    found = remarks(SMALL, GOOD)
    assert [remark.check for remark in found] == ["google_min_size", "amazon_min_size", "meta_min_size"]
    assert all(remark.detail.endswith(", but its original keeps the rule.") for remark in found)


def test_an_image_that_was_enlarged_is_named_once_for_each_shop() -> None:
    found = remarks(GOOD, SMALL)
    assert [(remark.check, remark.source) for remark in found] == [
        ("google_small_original", GOOGLE.source),
        ("amazon_small_original", AMAZON.source),
        ("meta_small_original", META.source),
    ]
    assert found[1].detail == (
        "An image for Amazon must have at least 1,000 pixels on the longest side, for the zoom; this JPEG has them "
        "only because its original of 640 × 480 pixels was enlarged or padded."
    )


def test_an_original_that_is_larger_or_of_another_format_is_no_reason_for_a_remark() -> None:
    assert remarks(GOOD, ImageFacts(format="avif", width=12_000, height=9_000, bytes=30_000_000)) == []


def test_only_the_rules_of_the_named_shops_count() -> None:
    image = replace(GOOD, format="avif", width=100)
    assert {remark.check for remark in remarks(image, image, "meta")} == {"meta_format", "meta_min_size"}
    assert {rule.shop for rule in rules_of(["amazon", "shopify"])} == set(SHOPS[1:3])
    assert rules_of([]) == RULES


def test_a_repeat_names_the_number_of_products_and_the_first_of_them() -> None:
    assert repeat_remark(Repeat(1_200), "A1") == Remark(
        "same_image", "1,200 products have the same image, the first is A1."
    )
    assert repeat_remark(Repeat(12, alone_in=9), "A1") == Remark(
        "placeholder", "9 products have this image only, the first is A1: it may be a placeholder."
    )
