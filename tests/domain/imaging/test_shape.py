"""The shape of a rendition: sizes, parts and contradictions, without pixels."""

from typing import Any

import pytest

from imgsvc.domain.imaging.shape import Shape, contradictions, shape_of
from imgsvc.domain.imaging.spec import Spec

CONTENT = (100, 50, 300, 150)
"""The part of an image of 400 × 300 that is left after trimming: 200 × 100."""


def shape(whole: tuple[int, int], content: tuple[int, int, int, int] | None = None, **options: Any) -> Shape:
    return shape_of(Spec.model_validate(options), whole, content)


@pytest.mark.parametrize(
    ("whole", "options", "size"),
    [
        ((400, 300), {"width": 200, "height": 200}, (200, 150)),
        ((300, 400), {"width": 200, "height": 200}, (150, 200)),
        ((40, 30), {"width": 200, "height": 200}, (200, 150)),
        ((400, 300), {"width": 1000}, (1000, 750)),
        ((400, 300), {"height": 30}, (40, 30)),
        ((4000, 3), {"width": 100, "height": 100}, (100, 1)),
        ((3, 4000), {"width": 777}, (777, 1_036_000)),
    ],
)
def test_contain_touches_the_box_and_keeps_the_proportions(
    whole: tuple[int, int], options: dict[str, Any], size: tuple[int, int]
) -> None:
    found = shape(whole, fit="contain", **options)
    assert (found.size, found.inner, found.shows_all) == (size, size, True)


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        ((400, 300), (50, 0, 350, 300)),
        ((300, 400), (0, 50, 300, 350)),
        ((40, 30), (5, 0, 35, 30)),
        ((200, 200), (0, 0, 200, 200)),
    ],
)
def test_cover_fills_the_box_with_the_middle(whole: tuple[int, int], part: tuple[float, ...]) -> None:
    found = shape(whole, fit="cover", width=100, height=100)
    assert (found.size, found.inner, found.part) == ((100, 100), (100, 100), part)


@pytest.mark.parametrize(
    ("whole", "inner"),
    [((400, 300), (100, 75)), ((300, 400), (60, 80)), ((40, 30), (100, 75)), ((9, 9_000), (1, 80))],
)
def test_pad_shows_all_on_a_canvas_of_exactly_the_box(whole: tuple[int, int], inner: tuple[int, int]) -> None:
    found = shape(whole, fit="pad", width=100, height=80)
    assert (found.size, found.inner, found.shows_all) == ((100, 80), inner, True)


@pytest.mark.parametrize("fit", ["contain", "cover", "pad"])
def test_an_image_of_exactly_the_box_is_unchanged(fit: str) -> None:
    assert shape((640, 480), fit=fit, width=640, height=480).is_unchanged
    assert not shape((640, 481), fit=fit, width=640, height=480).is_unchanged


@pytest.mark.parametrize("fit", ["contain", "cover", "pad"])
def test_limits_shrink_the_box_and_what_is_in_it(fit: str) -> None:
    found = shape((400, 300), fit=fit, width=1000, height=800, max_width=500)
    assert found.size == ((500, 375) if fit == "contain" else (500, 400))
    assert found.inner == ((500, 400) if fit == "cover" else (500, 375))


def test_trimming_alone_keeps_the_scale() -> None:
    found = shape((400, 300), CONTENT, trim=True)
    assert (found.part, found.inner, found.size) == (CONTENT, (200, 100), (200, 100))


@pytest.mark.parametrize(
    ("options", "inner", "size"),
    [
        ({}, (200, 100), (250, 125)),
        ({"fit": "contain", "width": 500}, (400, 200), (500, 250)),
        ({"fit": "pad", "width": 1000, "height": 1000}, (800, 400), (1000, 1000)),
        ({"fit": "pad", "width": 1000, "height": 250}, (400, 200), (1000, 250)),
        ({"max_width": 125}, (100, 50), (125, 62)),
    ],
)
def test_a_margin_is_a_share_of_the_rendition(
    options: dict[str, Any], inner: tuple[int, int], size: tuple[int, int]
) -> None:
    found = shape((400, 300), CONTENT, trim=True, margin=10, **options)
    assert (found.part, found.inner, found.size) == (CONTENT, inner, size)


@pytest.mark.parametrize("content", [None, (0, 0, 400, 300)])
def test_without_a_border_there_is_no_margin(content: tuple[int, int, int, int] | None) -> None:
    assert shape((400, 300), content, trim=True, margin=10).is_unchanged


def test_content_matters_only_to_a_spec_that_trims() -> None:
    assert shape((400, 300), CONTENT).is_unchanged


def test_cover_crops_what_trimming_leaves() -> None:
    assert shape((400, 300), CONTENT, trim=True, fit="cover", width=50, height=50).part == (150, 50, 250, 150)


@pytest.mark.parametrize(
    ("options", "member", "word"),
    [
        ({"width": 5}, "width", "max_width"),
        ({"height": 5}, "height", "max_width"),
        ({"fit": "contain"}, "fit", "width"),
        ({"fit": "cover", "width": 5}, "fit", "height"),
        ({"fit": "pad", "height": 5}, "fit", "width"),
        ({"margin": 5}, "margin", "trim"),
        ({"margin": 5, "trim": True, "fit": "cover", "width": 5, "height": 5}, "margin", "pad"),
        ({"fit": "pad", "width": 20_000, "height": 20_000}, "width", "20,000 × 20,000"),
        ({"fit": "contain", "width": 20_000, "height": 2_501}, "width", "50 million"),
        ({"fit": "pad", "width": 17_000, "height": 10, "format": "webp"}, "width", "16,383"),
    ],
)
def test_options_that_contradict_each_other_are_named(options: dict[str, Any], member: str, word: str) -> None:
    [(named, sentence)] = contradictions(Spec.model_validate(options), 50_000_000)
    assert named == member
    assert word in sentence


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_width": 20_000, "max_height": 20_000},
        {"fit": "contain", "width": 20_000},
        {"fit": "contain", "width": 17_000, "height": 10, "format": "webp"},
        {"fit": "pad", "width": 20_000, "height": 2_500},
        {"fit": "pad", "width": 20_000, "height": 20_000, "max_width": 7_000},
        {"fit": "pad", "width": 17_000, "height": 10},
        {"trim": True, "margin": 40, "fit": "contain", "width": 10},
    ],
)
def test_options_that_go_together_are_accepted(options: dict[str, Any]) -> None:
    assert not list(contradictions(Spec.model_validate(options), 50_000_000))
