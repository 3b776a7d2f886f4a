"""Images that recur: rows are assigned to products, and products are counted for each image."""

from collections.abc import Iterable, Sequence

import pytest

from imgsvc.domain.repeats import MIN_PLACEHOLDER_PRODUCTS, ProductNumbers, Repeat, Repeats

Row = tuple[str, str, Sequence[str]]
"""Serial number, name, and the contents of the images."""


def repeats_of(rows: Iterable[Row], *, failed: Sequence[str] = ()) -> dict[str, Repeat | None]:
    """Count the images of `rows`; the same content has one position in the batch for each of its uses."""
    used = [(content, position) for position, content in enumerate(each for _, _, images in rows for each in images)]
    repeats, positions = Repeats(len(used)), iter(range(len(used)))
    for content, position in used:
        if content not in failed:
            repeats.add_image(position, content)
    for serial, name, images in rows:
        repeats.add_row(serial, name, [next(positions) for _ in images])
    repeats.finish()
    return {content: repeats.repeat_of(repeats.content_of(position)) for content, position in used}


@pytest.mark.parametrize(
    ("rows", "numbers"),
    [
        ([("mug", "Blue mug"), ("mug", ""), ("mug", ""), ("cup", "Cup")], [0, 0, 0, 1]),  # Shopify
        ([("1", "Mug"), ("2", "Cup"), ("1", "Mug, large")], [0, 1, 0]),  # scattered rows
        ([("1", "Mug"), ("", ""), ("", ""), ("2", "Cup")], [0, 0, 0, 1]),  # rows without both
        ([("1", "Mug"), ("MUG-S", ""), ("MUG-L", ""), ("2", "Cup")], [0, 0, 0, 1]),  # variations of eBay
        ([("S", "Shirt"), ("M", "Shirt"), ("L", "Shirt"), ("4", "Hat")], [0, 0, 0, 1]),  # sizes of a feed
        ([("1", "Hat"), ("2", "Mug"), ("3", "Hat")], [0, 1, 2]),
        ([("1", ""), ("2", ""), ("2", "")], [0, 1, 1]),  # no row has a name
        ([("", "Mug"), ("", "Cup"), ("", "Cup")], [0, 1, 1]),
        ([("", ""), ("", ""), ("1", "Mug")], [0, 0, 1]),
        ([("1", "Mug"), ("MUG-S", ""), ("2", "Cup"), ("MUG-S", "")], [0, 0, 1, 0]),
    ],
)  # fmt: skip
def test_rows_of_one_product_have_one_number(rows: list[tuple[str, str]], numbers: list[int]) -> None:
    products = ProductNumbers()
    assert [products.of(serial, name) for serial, name in rows] == numbers


def test_an_image_of_two_products_recurs_and_the_others_do_not() -> None:
    rows = [("1", "Mug", ["a", "b"]), ("2", "Cup", ["b", "c"]), ("3", "Hat", ["d"])]
    assert repeats_of(rows) == {"a": None, "b": Repeat(2), "c": None, "d": None}


def test_the_image_of_a_variant_in_three_rows_of_one_product_does_not_recur() -> None:
    rows = [("shirt", "Shirt", ["a"]), ("shirt", "", ["a"]), ("shirt", "", ["a"]), ("hat", "Hat", ["b"])]
    assert repeats_of(rows) == {"a": None, "b": None}


def test_a_product_with_rows_in_several_places_is_counted_once() -> None:
    rows = [("1", "Mug", ["a"]), ("2", "Cup", ["a"]), ("1", "Mug", ["a"]), ("2", "Cup", ["a"])]
    assert repeats_of(rows) == {"a": Repeat(2)}


def test_images_without_content_do_not_recur() -> None:
    rows = [("1", "Mug", ["a"]), ("2", "Cup", ["a"])]
    assert repeats_of(rows, failed=["a"]) == {"a": None}
    repeats = Repeats(2)
    assert repeats.content_of(0) != repeats.content_of(1)


NAMES = ["Blue mug", "Green cup", "Black hat", "Lamp", "Oak table"]


def test_the_only_image_of_five_different_products_is_a_placeholder() -> None:
    rows = [(str(number), name, ["none"]) for number, name in enumerate(NAMES)]
    assert len(rows) == MIN_PLACEHOLDER_PRODUCTS
    assert repeats_of(rows) == {"none": Repeat(5, alone_in=5)}
    assert repeats_of(rows[1:]) == {"none": Repeat(4)}
    more = [*rows, ("6", "Sofa", ["none", "sofa"])]
    assert repeats_of(more) == {"none": Repeat(6, alone_in=5), "sofa": None}


def test_an_image_that_products_have_next_to_others_is_no_placeholder() -> None:
    """A chart of sizes, for example."""
    rows = [(str(number), name, [name, "sizes"]) for number, name in enumerate(NAMES)]
    assert repeats_of(rows)["sizes"] == Repeat(5)
    in_rows = [
        row for number, name in enumerate(NAMES) for row in ((str(number), name, [name]), (str(number), "", ["sizes"]))
    ]
    assert repeats_of(in_rows)["sizes"] == Repeat(5)


@pytest.mark.parametrize(
    "names",
    [
        ["Shirt {} - S", "Shirt {} - M", "Shirt {} - L", "Shirt {} - XL", "SHIRT ({}, XXL)", "shirt {}"],
        ["", "", "", "", "", ""],
        ["", "Shirt {} S", "Shirt {} M", "Shirt {} L", "Shirt {} XL", "Shirt {} XXL"],
    ],
)
def test_the_image_of_variants_with_names_of_their_own_is_no_placeholder(names: list[str]) -> None:
    """Red and blue ones may take turns, so their rows need not follow each other."""
    colours = [(size, name, colour) for size, name in enumerate(names) for colour in ("red", "blue")]
    rows = [(f"{colour}-{size}", name.format(colour), [colour]) for size, name, colour in colours]
    assert {colour: repeat and repeat.alone_in for colour, repeat in repeats_of(rows).items()} == {"red": 0, "blue": 0}
    assert {repeat and repeat.products for repeat in repeats_of(rows).values()} == {len(names)}


def test_a_name_without_a_word_does_not_differ_from_others() -> None:
    rows = [
        (str(number), name, ["a"]) for number, name in enumerate(["Shirt S", "Shirt M", "***", "Shirt L", "Shirt XL"])
    ]
    assert repeats_of(rows) == {"a": Repeat(5)}


def test_a_failed_image_may_have_been_another_one() -> None:
    rows = [(str(number), name, ["none", f"failed {name}"]) for number, name in enumerate(NAMES)]
    assert repeats_of(rows, failed=[f"failed {name}" for name in NAMES])["none"] == Repeat(5)


def test_a_batch_without_rows_has_no_repeats() -> None:
    assert repeats_of([]) == {}
