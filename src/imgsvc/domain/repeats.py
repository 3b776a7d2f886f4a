"""Images that recur in several products, by their content; a catalogue of any size takes a few bytes for each image."""

import re
from array import array
from collections.abc import Sequence
from typing import NamedTuple

MIN_PLACEHOLDER_PRODUCTS = 5
_WORD = re.compile(r"[^\W_]+")


class Repeat(NamedTuple):
    """The number of products with an image, and for a placeholder the number of those that have no other image."""

    products: int
    alone_in: int = 0


class ProductNumbers:
    """Numbers the products of rows, which come in order.

    Rows with the same serial number are one product, and so are rows one after the other with the same name. A row
    without a name continues the product above it, unless no product there has a name and it has a serial number.
    """

    def __init__(self) -> None:
        self.count = 0
        self._number = -1
        self._name = ""
        self._by_serial: dict[str, int] = {}

    def of(self, serial: str, name: str) -> int:
        """Return the number of the product of the next row, counted from 0."""
        continues = name == self._name if name else bool(self._name or not serial)
        if serial in self._by_serial:
            self._number = self._by_serial[serial]
        elif self._number < 0 or not continues:
            self._number = self.count
            self.count += 1
        if serial:
            self._by_serial[serial] = self._number
        self._name = name or self._name
        return self._number


class Repeats:
    """Counts the products of each image. First all images are added, then all rows in order, then `finish` is called.

    Images are given by their position in the batch. Those with the same content are one, by its number.
    """

    def __init__(self, images: int) -> None:
        self._contents = array("i", [-1]) * images
        self._numbers: dict[str, int] = {}
        self._products = array("i", [0]) * images
        self._alone_in = array("i", [0]) * images
        self._last_product = array("i", [-1]) * images
        self._first_words = array("q", [0]) * images
        """The hash of the first word in the names of the products that have no other image."""
        self._is_varied = bytearray(images)
        """1 if their names begin with different words."""
        self._product_numbers = ProductNumbers()
        self._rows = array("i")
        self._shown: set[int] = set()
        self._word = 0

    def add_image(self, position: int, content: str) -> None:
        self._contents[position] = self._numbers.setdefault(content, len(self._numbers))

    def add_row(self, serial: str, name: str, images: Sequence[int]) -> None:
        """Add the next row with the positions of its images."""
        self._numbers.clear()  # which takes as much memory as the serial numbers
        number = self._product_numbers.of(serial, name)
        if self._rows and number != self._rows[-1]:
            self._end_product()
        self._rows.append(number)
        self._shown.update(map(self.content_of, images))
        self._word = self._word or _first_word(name)

    def finish(self) -> None:
        """End the last product, and release what is only needed for adding."""
        if self._rows:
            self._end_product()
        self._product_numbers = ProductNumbers()

    def _end_product(self) -> None:
        number, word = self._rows[-1], self._word
        is_alone = len(self._shown) == 1
        for content in self._shown:
            # Products are numbered in order of their first rows: one that comes again later is not counted again.
            if content >= 0 and self._last_product[content] < number:
                self._last_product[content] = number
                self._products[content] += 1
                if is_alone:
                    self._alone_in[content] += 1
                    self._is_varied[content] |= bool(word and self._first_words[content] not in (0, word))
                    self._first_words[content] = word or self._first_words[content]
        self._shown.clear()
        self._word = 0

    def content_of(self, position: int) -> int:
        """Return the number of an image's content; below 0, and of this image alone, if no content was added."""
        content = self._contents[position]
        return content if content >= 0 else -1 - position

    def product_of(self, row: int) -> int:
        """Return the number of the product of a row, counted from 0."""
        return self._rows[row]

    def repeat_of(self, content: int) -> Repeat | None:
        """Return how often an image recurs; None if at most one product has it.

        A placeholder is the only image of many products, whose names do not all begin with the same word: then they
        would be variants of one product.
        """
        if content < 0 or self._products[content] < 2:
            return None
        alone_in = self._alone_in[content]
        is_placeholder = alone_in >= MIN_PLACEHOLDER_PRODUCTS and self._is_varied[content]
        return Repeat(self._products[content], alone_in if is_placeholder else 0)


def _first_word(name: str) -> int:
    """Return the hash of the word with which `name` begins; 0 if there is none."""
    word = _WORD.search(name)
    return hash(word[0].casefold()) if word else 0
