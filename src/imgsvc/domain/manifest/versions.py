"""Compare the rows of two versions of a catalogue: which are new, changed, unchanged and gone."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby, zip_longest

NEW, CHANGED, UNCHANGED, GONE = "new", "changed", "unchanged", "gone"


class Rows:
    """The rows of a version for a comparison, 16 bytes a row: hashes of the product and of the whole row."""

    def __init__(self, header: Sequence[str]) -> None:
        """Take the `header` of the rows as they are returned."""
        self.products, self.contents = array("q"), array("q")
        # Columns are compared by name: their order does not matter, except among those of one name.
        self._columns = sorted(range(len(header)), key=header.__getitem__)
        self._header = header

    def __len__(self) -> int:
        return len(self.products)

    def add(self, product: str, cells: Sequence[str]) -> None:
        """Add the next row: the name of its `product` and its `cells` as they are returned, with the new URLs."""
        cells_by_name = (f"{self._header[index]}\0{cells[index]}" for index in self._columns if cells[index])
        self.products.append(_hash(product))
        self.contents.append(_hash("\0\0".join(cells_by_name)))


def _hash(text: str) -> int:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@dataclass(slots=True)
class RowChanges:
    """The rows by change: positions of `new` and `changed` rows in the later version, of `gone` ones in the earlier."""

    new: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    unchanged: int = 0


def compare(earlier: Rows, later: Rows) -> RowChanges:
    """Compare two versions; CPU-bound, call it from a thread.

    Rows belong together if their product is the same. A product may have several rows: equal ones are unchanged,
    wherever they are; the others are compared in order, and those left over are new or gone.
    """
    changes = RowChanges()
    before, after = _by_product(earlier), _by_product(later)
    for product, positions in after.items():
        _compare_product(earlier, before.pop(product, []), later, positions, changes)
    changes.gone += (position for positions in before.values() for position in positions)
    for each in (changes.new, changes.changed, changes.gone):
        each.sort()
    return changes


def _by_product(rows: Rows) -> dict[int, list[int]]:
    ordered = sorted(range(len(rows)), key=rows.products.__getitem__)
    return {product: list(group) for product, group in groupby(ordered, key=rows.products.__getitem__)}


def _compare_product(earlier: Rows, before: list[int], later: Rows, after: list[int], changes: RowChanges) -> None:
    old = list(_without(before, earlier.contents, Counter(later.contents[position] for position in after)))
    new = list(_without(after, later.contents, Counter(earlier.contents[position] for position in before)))
    changes.unchanged += len(after) - len(new)
    for was, now in zip_longest(old, new):
        if now is None:
            changes.gone.append(was)
        elif was is None:
            changes.new.append(now)
        else:
            changes.changed.append(now)


def _without(positions: Sequence[int], contents: Sequence[int], equal: Counter[int]) -> Iterator[int]:
    """Yield the positions whose contents are not, or not often enough, among the `equal` ones."""
    for position in positions:
        if equal[contents[position]]:
            equal[contents[position]] -= 1
        else:
            yield position
