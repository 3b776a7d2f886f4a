"""The rules that shops have published for product images, in one table, and those that an image breaks.

Only what follows from format, size and bytes is here; overlays, borders and backgrounds are not. None of these shops
demands a square. A megabyte is a million bytes, which is the stricter reading.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop, the page with its rules, and the day on which a copy of it was read; `note` says what else to know."""

    code: str
    title: str
    source: str
    read: date
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """The facts about an image that the rules depend on; `format` is a name in lower case, such as `jpeg`."""

    format: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: what a shop demands, as the end of the sentence "… must have …", and the test for it."""

    shop: Shop
    code: str
    demand: str
    holds: Callable[[ImageFacts], bool]

    @property
    def check(self) -> str:
        """The code of the check, such as `google_min_size`."""
        return f"{self.shop.code}_{self.code}"


GOOGLE = Shop(
    "google",
    "Google Merchant Center",
    "https://support.google.com/merchants/answer/6324350",
    date(2026, 11, 29),
    "Until 31 January 2027 it accepts images from 100 × 100 pixels on, and of clothes from 250 × 250.",
)
AMAZON = Shop(
    "amazon",
    "Amazon",
    "https://sellercentral.amazon.com/gp/help/external/G9FUUH87RBNXGKB7",
    date(2026, 11, 29),
    "The page for sellers in the United States. It also excludes animated GIFs, which are not checked.",
)
SHOPIFY = Shop(
    "shopify",
    "Shopify",
    "https://help.shopify.com/en/manual/products/product-media/product-media-types",
    date(2026, 11, 29),
    "The page itself could not be read; several others quote these limits. Older ones say 4,472 × 4,472 pixels.",
)
META = Shop(
    "meta",
    "Meta",
    "https://developers.facebook.com/docs/marketing-api/catalog/reference",
    date(2026, 2, 1),
    "The page has moved since, and its part on images could not be read again.",
)
SHOPS = (GOOGLE, AMAZON, SHOPIFY, META)


def _formats(shop: Shop, *titles: str) -> Rule:
    """Return the rule that an image has one of these formats."""
    names = {title.lower() for title in titles}
    return Rule(shop, "format", f"one of the formats {', '.join(titles)}", lambda image: image.format in names)


RULES = (
    _formats(GOOGLE, "JPEG", "WebP", "PNG", "GIF", "BMP", "TIFF"),
    Rule(
        GOOGLE,
        "min_size",
        "at least 500 × 500 pixels (all products from 31 January 2027)",
        lambda image: min(image.width, image.height) >= 500,
    ),
    Rule(GOOGLE, "max_pixels", "at most 64 megapixels", lambda image: image.width * image.height <= 64_000_000),
    Rule(GOOGLE, "max_bytes", "at most 16 MB", lambda image: image.bytes <= 16_000_000),
    _formats(AMAZON, "JPEG", "TIFF", "PNG", "GIF"),
    Rule(
        AMAZON,
        "min_size",
        "at least 1,000 pixels on the longest side, for the zoom",
        lambda image: max(image.width, image.height) >= 1_000,
    ),
    Rule(
        AMAZON,
        "max_size",
        "at most 10,000 pixels on the longest side",
        lambda image: max(image.width, image.height) <= 10_000,
    ),
    _formats(SHOPIFY, "PNG", "JPEG", "WebP", "GIF", "TIFF", "BMP", "PSD", "SVG", "HEIC"),
    Rule(
        SHOPIFY,
        "max_size",
        "at most 5,000 × 5,000 pixels",
        lambda image: max(image.width, image.height) <= 5_000,
    ),
    Rule(SHOPIFY, "max_bytes", "less than 20 MB", lambda image: image.bytes < 20_000_000),
    _formats(META, "JPEG", "PNG"),
    Rule(
        META,
        "min_size",
        "at least 500 × 500 pixels",
        lambda image: min(image.width, image.height) >= 500,
    ),
    Rule(META, "max_bytes", "at most 8 MB", lambda image: image.bytes <= 8_000_000),
)


def rules_of(shops: Collection[str]) -> tuple[Rule, ...]:
    """Return the rules of the shops with these codes; without any, those of all shops."""
    return tuple(rule for rule in RULES if not shops or rule.shop.code in shops)


def broken_rules(image: ImageFacts, rules: Iterable[Rule] = RULES) -> tuple[Rule, ...]:
    """Return those of `rules` that `image` breaks, in their order."""
    return tuple(rule for rule in rules if not rule.holds(image))
