"""The options of a rendition."""

import pytest
from pydantic import ValidationError

from imgsvc.domain.imaging.shape import shape_of
from imgsvc.domain.imaging.spec import Format, Spec


def test_the_default_spec_is_quality_50_in_the_original_format() -> None:
    spec = Spec()
    assert (spec.name, spec.quality, spec.format, spec.background) == ("main", 50, Format.original, "#ffffff")
    assert (spec.max_width, spec.max_height, spec.keep_metadata) == (None, None, "copyright")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quality", 0),
        ("quality", 96),
        ("format", "gif"),
        ("max_width", 0),
        ("max_height", 20_001),
        ("background", "no colour"),
        ("background", "#12345"),
        ("keep_metadata", "some"),
        ("fit", "fill"),
        ("width", 0),
        ("height", 20_001),
        ("trim", "some"),
        ("margin", -1),
        ("margin", 41),
        ("name", ""),
        ("name", "Main"),
        ("name", "-main"),
        ("name", "main\n"),
        ("name", "a/b"),
        ("name", "a" * 33),
        ("colour", 5),
    ],
)
def test_invalid_options_are_refused_by_field(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        Spec.model_validate({field: value})
    assert [error["loc"] for error in refusal.value.errors()] == [(field,)]


@pytest.mark.parametrize("colour", ["white", "#fff", "#00ff00", "rgb(1, 2, 3)"])
def test_a_background_is_any_usual_notation_of_a_colour(colour: str) -> None:
    assert Spec(background=colour).background == colour


def test_a_spec_cannot_be_changed_and_equal_ones_count_as_one() -> None:
    with pytest.raises(ValidationError):
        Spec().quality = 60  # type: ignore[misc]
    assert len({Spec(quality=60), Spec(quality=60), Spec()}) == 2


def test_a_spec_can_be_stored_as_json() -> None:
    spec = Spec(name="thumb", format=Format.webp, max_width=200, keep_metadata="none")
    assert Spec.model_validate(spec.model_dump(mode="json")) == spec


def test_a_spec_without_later_options_is_what_it_was_in_earlier_versions() -> None:
    spec = Spec(name="thumb", max_width=200)
    assert spec.identity() == {
        "name": "thumb",
        "quality": 50,
        "format": "original",
        "max_width": 200,
        "max_height": None,
        "background": "#ffffff",
        "keep_metadata": "copyright",
    }
    assert Spec.model_validate(spec.identity()) == spec


@pytest.mark.parametrize(
    "options",
    [{"fit": "pad"}, {"width": 5}, {"height": 5}, {"trim": True}, {"margin": 1}],
    ids=lambda it: next(iter(it)),
)
def test_every_option_in_use_is_part_of_the_identity(options: dict[str, object]) -> None:
    assert Spec.model_validate(options).identity() == Spec().identity() | options


def test_every_field_has_a_description() -> None:
    assert all(field.description for field in Spec.model_fields.values())


@pytest.mark.parametrize(
    ("size", "limits", "fitted"),
    [
        ((400, 300), {}, (400, 300)),
        ((400, 300), {"max_width": 200}, (200, 150)),
        ((400, 300), {"max_height": 30}, (40, 30)),
        ((400, 300), {"max_width": 200, "max_height": 30}, (40, 30)),
        ((400, 300), {"max_width": 4000, "max_height": 3000}, (400, 300)),
        ((4000, 3), {"max_width": 100}, (100, 1)),
    ],
)
def test_limits_only_shrink_and_keep_the_proportions(
    size: tuple[int, int], limits: dict[str, int], fitted: tuple[int, int]
) -> None:
    assert shape_of(Spec.model_validate(limits), size).size == fitted
