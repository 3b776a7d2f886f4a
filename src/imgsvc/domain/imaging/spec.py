"""What a rendition must be: the validated wish that every image of a batch is compressed to."""

from typing import Annotated, Any, Literal

from PIL import ImageColor
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from imgsvc.domain.imaging.formats import OUTPUT_FORMATS, Format, in_prose

__all__ = ["Compression", "Format", "Spec"]

_ROWS = OUTPUT_FORMATS.values()


def _opaque_colour(value: str) -> str:
    """Pillow's colour names and notations; the error is a ValueError, as pydantic wants it."""
    ImageColor.getcolor(value, "RGB")
    return value


Side = Annotated[int, Field(ge=1, le=20_000)]


class Compression(BaseModel):
    """How to compress; each field is one of the upload's too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quality: int = Field(
        50,
        ge=1,
        le=95,
        description=(
            "Higher looks better and weighs more. For PNG it sets the number of colours kept: 256 from 50 on, "
            "and all of them where fewer would show."
        ),
    )
    format: Format = Field(
        Format.original,
        description=(
            f"Format to write. `original` keeps {in_prose([row for row in _ROWS if row.kept_from])}; anything else "
            "becomes JPEG, or PNG where it is transparent. "
            f"Animations stay animated except as {in_prose([row for row in _ROWS if not row.animated])}."
        ),
    )
    max_width: Side | None = Field(None, description="Shrink to at most this many pixels; never enlarged.")
    max_height: Side | None = Field(None, description="Shrink to at most this many pixels; never enlarged.")
    background: Annotated[str, AfterValidator(_opaque_colour)] = Field(
        "#ffffff",
        max_length=64,
        description="What shows through where JPEG replaces a transparent image: `#rrggbb` or a CSS colour name.",
    )
    keep_metadata: Literal["none", "copyright", "all"] = Field(
        "copyright",
        description=(
            "`copyright` keeps copyright and artist and drops the rest, such as where a photo was taken; "
            "`all` keeps EXIF and XMP, `none` nothing."
        ),
    )

    def encoder_options(self) -> dict[str, Any]:
        """Return the keyword arguments that `encode` and `encode_film` take from the upload."""
        return {"quality": self.quality}

    def fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size that an upright image of `size` gets: within both limits, same proportions, never larger."""
        width, height = size
        scale = min(1.0, (self.max_width or width) / width, (self.max_height or height) / height)
        return max(1, round(width * scale)), max(1, round(height * scale))


class Spec(Compression):
    """One rendition of every image of a batch. Equal specs give equal renditions of equal bytes."""

    name: str = Field(
        "main",
        pattern="^[a-z0-9][a-z0-9_-]{0,31}$",
        description="What this rendition is called in the report and in its address, for example `thumb`.",
    )
