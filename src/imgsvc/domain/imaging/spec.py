"""The validated options of a rendition."""

from typing import Annotated, Any, Literal

from PIL import ImageColor
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from imgsvc.domain.imaging.formats import OUTPUT_FORMATS, Format, in_prose

__all__ = ["Compression", "Format", "Spec"]

_ROWS = OUTPUT_FORMATS.values()


def _opaque_colour(value: str) -> str:
    """Check that `value` is a colour name or notation that Pillow knows; raise ValueError, as pydantic expects."""
    ImageColor.getcolor(value, "RGB")
    return value


Side = Annotated[int, Field(ge=1, le=20_000)]
MAX_MARGIN = 40
"""Percent on each side: a fifth of the rendition is left for the image."""
FIRST_MEMBERS = frozenset({"name", "quality", "format", "max_width", "max_height", "background", "keep_metadata"})
"""Members of a spec since the first version. All others are no part of its identity while they have their defaults."""


class Compression(BaseModel):
    """Compression options; each is a field of the upload as well."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quality: int = Field(
        50,
        ge=1,
        le=95,
        description=(
            "Higher looks better and makes larger files. For PNG it sets the number of colours kept: 256 from 50 on, "
            "and all of them if 256 would be visibly different."
        ),
    )
    format: Format = Field(
        Format.original,
        description=(
            f"Format to write. `original` keeps {in_prose([row for row in _ROWS if row.kept_from])}, and an "
            "animated GIF; anything else becomes JPEG, or PNG if it is transparent. "
            f"Animations stay animated except as {in_prose([row for row in _ROWS if not row.animated])}."
        ),
    )
    max_width: Side | None = Field(None, description="Shrink to at most this many pixels; never enlarged.")
    max_height: Side | None = Field(None, description="Shrink to at most this many pixels; never enlarged.")
    fit: Literal["contain", "cover", "pad"] | None = Field(
        None,
        description=(
            "How the image gets into a box of `width` × `height`. `contain`: scaled until it touches the box, of which "
            "one side may be omitted. `cover`: fills the box; what extends beyond it is cut off on both sides alike. "
            "`pad`: all of the image, in the middle of a canvas of exactly that size. All three enlarge smaller images."
        ),
    )
    width: Side | None = Field(None, description="Width of the box that `fit` fills.")
    height: Side | None = Field(None, description="Height of the box that `fit` fills.")
    trim: bool = Field(
        False,
        description=(
            "First remove a plain border: transparent, or of nearly one colour, which has to reach all four corners."
        ),
    )
    margin: int = Field(
        0,
        ge=0,
        le=MAX_MARGIN,
        description=(
            "Percent of the rendition's width that stays free on the left and on the right of what `trim` has left, "
            "and of its height above and below. An image without a plain border gets no margin."
        ),
    )
    background: Annotated[str, AfterValidator(_opaque_colour)] = Field(
        "#ffffff",
        max_length=64,
        description=(
            "Colour of what `pad` and `margin` add, and behind a transparent image that is written as JPEG: `#rrggbb` "
            "or a CSS colour name. Around a transparent image in another format, what they add is transparent."
        ),
    )
    keep_metadata: Literal["none", "copyright", "all"] = Field(
        "copyright",
        description=(
            "`copyright` keeps copyright, artist and IPTC's digital source type, which marks generated images, and "
            "removes all else, such as where a photo was taken; `all` keeps EXIF and XMP, `none` removes everything."
        ),
    )

    def encoder_options(self) -> dict[str, Any]:
        """Return the keyword arguments that `encode` and `encode_animation` take from the upload."""
        return {"quality": self.quality}

    def identity(self) -> dict[str, Any]:
        """Return everything that makes renditions differ.

        Options of later versions are included only if they are used: results of earlier versions stay reusable.
        """
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if name in FIRST_MEMBERS or getattr(self, name) != type(self).model_fields[name].default
        }


class Spec(Compression):
    """One rendition of every image of a batch. Equal specs make equal renditions of equal bytes."""

    name: str = Field(
        "main",
        pattern="^[a-z0-9][a-z0-9_-]{0,31}$",
        description="Name of this rendition in the report and in its URL, for example `thumb`.",
    )
