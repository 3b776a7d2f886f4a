"""Remarks on the image of a product, each in one sentence: it breaks a rule of a shop, or recurs in other products."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from imgsvc.domain.repeats import Repeat
from imgsvc.domain.shop_rules import ImageFacts, Rule

SAME_IMAGE, PLACEHOLDER = "same_image", "placeholder"
SMALL_ORIGINAL = "small_original"


class Remark(NamedTuple):
    """The result of one check; a remark about a shop has the page with its rules, and the day of its reading."""

    check: str
    detail: str
    source: str = ""
    source_date: str = ""


def shop_remarks(image: ImageFacts, original: ImageFacts, rules: Iterable[Rule]) -> Iterator[Remark]:
    """Yield a remark for each rule that `image` breaks, or keeps only because its `original` was enlarged."""
    for rule in rules:
        this = f"An image for {rule.shop.title} must have {rule.demand}; this {image.format.upper()} has"
        if not rule.holds(image):
            reason = "but its original keeps the rule" if rule.holds(original) else "and its original breaks it as well"
            yield _shop_remark(rule, rule.code, f"{this} {_size(image)} and {image.bytes:,} bytes, {reason}.")
        elif rule.code == "min_size" and not rule.holds(original):
            detail = f"{this} them only because its original of {_size(original)} was enlarged or padded."
            yield _shop_remark(rule, SMALL_ORIGINAL, detail)


def _shop_remark(rule: Rule, code: str, detail: str) -> Remark:
    return Remark(f"{rule.shop.code}_{code}", detail, rule.shop.source, rule.shop.read.isoformat())


def _size(image: ImageFacts) -> str:
    return f"{image.width:,} × {image.height:,} pixels"


def repeat_remark(repeat: Repeat, first: str) -> Remark:
    """Return the remark on an image of several products; `first` names the first of them."""
    if repeat.alone_in:
        detail = f"{repeat.alone_in:,} products have this image only, the first is {first}: it may be a placeholder."
        return Remark(PLACEHOLDER, detail)
    return Remark(SAME_IMAGE, f"{repeat.products:,} products have the same image, the first is {first}.")
