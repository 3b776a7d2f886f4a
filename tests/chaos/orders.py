"""The uploads of customers: random catalogues of images whose expected outcome is known in advance."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Literal

from chaos.paced import SIZE
from support.images import alpha_png, animation, cmyk_jpeg, encoded, palette_png, photo_jpeg, scene, truncated
from support.origin_server import OriginServer

Size = tuple[int, int]
Plan = Literal["keep", "cancel", "retry", "redeliver", "delete", "retry and delete"]
PLANS: tuple[Plan, ...] = ("keep", "cancel", "retry", "retry", "redeliver", "delete", "retry and delete")
HEADER = ("S. No.", "Product Name", "Input Image Urls", "Colour")
OUTPUT = "Output Image Urls"
"""The column that the report adds."""
MAX_PRODUCTS = 60
PACED_SHARE = 0.15
"""The share of orders of a paced origin."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A URL and its expected outcome: a rendition of a size, or an error code."""

    url: str
    size: Size | None = None
    code: str | None = None
    is_flaky: bool = False
    """Its origin answers 503 once or twice before it succeeds."""
    is_paced: bool = False
    """Its origin limits its customers, and has no faults."""


@dataclass
class Order:
    """One upload, and the facts that its customer knows."""

    owner: str
    number: int
    products: list[list[Slot]]
    plan: Plan
    has_webhook: bool
    batch_id: str = ""
    status: str = "pending"
    sent_at: float = 0
    ended_at: float = 0
    min_rounds: int = 1
    max_rounds: int = 1
    """More than the minimum if the answer to a retry was lost: it may have started a round."""
    is_deleted: bool = False

    @property
    def key(self) -> str:
        """The idempotency key; all owners use the same ones."""
        return f"order-{self.number}"

    @property
    def label(self) -> str:
        return f"{self.owner}/{self.key}"

    @property
    def is_version(self) -> bool:
        """True if it names the owner's catalogue; each of its products is another one than before."""
        return self.number % 3 > 0

    @property
    def slots(self) -> dict[str, Slot]:
        """The distinct slots, by URL."""
        return {slot.url: slot for slots in self.products for slot in slots}

    def manifest(self) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(HEADER)
        for number, slots in enumerate(self.products, start=1):
            writer.writerow([number, f"Product {self.number}.{number}", ",".join(slot.url for slot in slots), "blue"])
        return text.getvalue().encode()

    def fields(self, hook: str) -> dict[str, str]:
        """Return the upload's fields except the file."""
        fields = {"on_invalid": "skip", "metadata": json.dumps({"order": self.label})}
        fields |= {"catalogue": "shop"} if self.is_version else {}
        return fields | ({"webhook_url": hook} if self.has_webhook else {})


class Catalogue:
    """A maker of the orders of one owner. The shop serves their images; customers reach it at `address`.

    Some orders are of a `paced` origin, whose address is given by its name.
    """

    def __init__(self, owner: str, shop: OriginServer, address: str, paced: Mapping[str, str]) -> None:
        self._owner = owner
        self._shop = shop
        self._addresses = cycle(paced.values()) if paced else None
        self._address = address
        self._images = _good_images()
        self._orders = 0

    def order(self, rng: Random) -> Order:
        self._orders += 1
        if self._addresses and rng.random() < PACED_SHARE:
            return self._paced_order(rng, next(self._addresses))
        products: list[list[Slot]] = []
        for _ in range(rng.choice((1, 3, 10, rng.randint(1, MAX_PRODUCTS)))):
            previous = [slot for slots in products for slot in slots]
            new = [self._slot(rng, len(previous) + count) for count in range(rng.choice((1, 1, 1, 2, 3)))]
            repeated = [rng.choice(previous)] if previous and rng.random() < 0.1 else []
            products.append([*new, *repeated])
        return Order(self._owner, self._orders, products, rng.choice(PLANS), has_webhook=rng.random() < 0.9)

    def plain_order(self, rng: Random, images: int) -> Order:
        """Return an order of good images that is kept."""
        self._orders += 1
        products = [[self._good(rng, f"{self._owner}/{self._orders}/{number}")] for number in range(images)]
        return Order(self._owner, self._orders, products, "keep", has_webhook=True)

    def _paced_order(self, rng: Random, address: str) -> Order:
        name = f"{self._owner}/{self._orders}"
        count = rng.randint(10, MAX_PRODUCTS)
        slots = [Slot(f"{address}/{name}/{number}.jpg", size=SIZE, is_paced=True) for number in range(count)]
        return Order(self._owner, self._orders, [[slot] for slot in slots], rng.choice(PLANS), has_webhook=True)

    def _slot(self, rng: Random, count: int) -> Slot:
        name = f"{self._owner}/{self._orders}/{count}"
        draw = rng.random()
        if draw < 0.84:
            return self._good(rng, name)
        if draw < 0.89:
            failures = rng.choice((1, 2))
            return Slot(f"{self._address}/flaky/{failures}?{name}", size=(64, 48), is_flaky=True)
        if draw < 0.93:
            return Slot(f"{self._address}/missing/{name}.jpg", code="http_404")
        if draw < 0.95:
            return Slot(f"{self._address}/html?{name}", code="not_an_image")
        if draw < 0.98:
            return Slot(self._serve(f"/broken/{name}.jpg", truncated(self._images[0][0])), code="decode_error")
        return Slot(f"ftp://shop.example/{name}.jpg", code="invalid_url")

    def _good(self, rng: Random, name: str) -> Slot:
        body, size = rng.choice(self._images)
        delay = rng.choice((0, 0.1, 0.4, 1.2))
        return Slot(self._serve(f"/good/{name}", body, delay), size=size)

    def _serve(self, path: str, body: bytes, delay: float = 0) -> str:
        self._shop.serve(path, body, delay=delay)
        return f"{self._address}{path}"


def _good_images() -> Sequence[tuple[bytes, Size]]:
    """Return images of several formats and sizes, each with the size of its rendition."""
    return (
        (photo_jpeg(640, 480), (640, 480)),
        (photo_jpeg(1600, 1000, progressive=True), (1600, 1000)),
        (photo_jpeg(300, 300, quality=40), (300, 300)),
        (encoded(scene(500, 700), "PNG"), (500, 700)),
        (encoded(scene(400, 300), "WEBP"), (400, 300)),
        (encoded(scene(320, 200), "BMP"), (320, 200)),
        (alpha_png(120, 80), (120, 80)),
        (palette_png(120, 80), (120, 80)),
        (cmyk_jpeg(), (64, 48)),
        (animation("GIF"), (48, 32)),
    )
