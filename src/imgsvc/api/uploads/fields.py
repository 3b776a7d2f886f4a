"""The options of an upload: their types, limits and descriptions."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, Json, StringConstraints, ValidationInfo
from pydantic_core import PydanticCustomError

from imgsvc.api.uploads.shapes import check_shapes
from imgsvc.domain.addresses import Network, is_allowed, parse_literal
from imgsvc.domain.imaging.spec import Compression, Spec
from imgsvc.domain.manifest.file_format import OutputMode
from imgsvc.domain.manifest.read_csv import Columns, OnInvalid
from imgsvc.domain.manifest.urls import why_invalid
from imgsvc.errors import BlockedAddress, InvalidUrl

_SHOPIFY = '{"serial_number": "Handle", "product_name": "Title", "image_urls": "Image Src"}'
_THUMB = '[{"name": "thumb", "max_width": 200, "max_height": 200}]'
_RENDITIONS = (
    f"list of up to 8, each with a unique `name`, for example `{_THUMB}`. Entries inherit the settings they omit from "
    "the other fields of the upload; those alone define the first rendition, `main`, unless an entry has that name. "
    "Each further rendition has its own column in the report: `Output Image Urls (thumb)`."
)
SOURCE_URL = (
    "Instead of a file: the URL of the catalogue, which the service fetches now. If it has not changed since the last "
    "batch of its `catalogue`, it is not sent again. `catalogue` is its URL by default."
)
_Key = Annotated[str, Field(max_length=40)]
_Value = Annotated[str, Field(max_length=500)]
Metadata = Annotated[dict[_Key, _Value], Field(max_length=16)]


def check_public_url(url: str, info: ValidationInfo) -> str:
    """Return `url`, or raise if it is invalid or its IP address is blocked; names are resolved when it is called.

    The validation context contains `allowed_networks` of the settings.
    """
    if detail := why_invalid(url):
        raise PydanticCustomError(InvalidUrl.code, "{detail}", {"detail": detail})
    networks: Sequence[Network] = (info.context or {}).get("allowed_networks", ())
    address = parse_literal(urlsplit(url).hostname or "")
    if address is not None and not is_allowed(address, networks):
        raise PydanticCustomError(BlockedAddress.code, BlockedAddress.sentence)
    return url


def check_names(renditions: list[Spec]) -> list[Spec]:
    """Return `renditions`, or raise if a name is repeated: it is part of the rendition's URL and report column."""
    repeated = [name for name, count in Counter(spec.name for spec in renditions).items() if count > 1]
    if repeated:
        raise PydanticCustomError("repeated_name", "more than one rendition is named {name}", {"name": repeated[0]})
    return renditions


def check_fallback(value: str) -> str:
    """Return `value`, or raise unless it is `empty`, `original` or a URL that any encoding and any cell can hold."""
    if value in ("empty", "original"):
        return value
    detail = why_invalid(value)
    if not detail and (not value.isascii() or any(separator in value for separator in ",;|")):
        detail = "The URL must be ASCII and without commas, semicolons and bars. Percent-encode them."
    if detail:
        raise PydanticCustomError("invalid_fallback", "must be empty, original or a URL. {detail}", {"detail": detail})
    return value


def check_printable(value: str) -> str:
    """Return `value`, or raise if it contains characters that no database or log can hold, such as NUL."""
    if not value.isprintable():
        raise PydanticCustomError("not_printable", "must not contain control characters")
    return value


Catalogue = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), AfterValidator(check_printable)
]
OnFailed = Annotated[str, Field(max_length=2_048), AfterValidator(check_fallback)]
Renditions = Annotated[list[Spec], Field(max_length=8), AfterValidator(check_names)]
PublicUrl = Annotated[str, Field(max_length=2_048), AfterValidator(check_public_url)]


class CommonFields(Compression):
    """The options of every upload: the main rendition, and how to process the upload."""

    on_invalid: OnInvalid = Field(
        "reject",
        description="`reject`: an invalid URL rejects the upload. `skip`: it counts as a failed image.",
    )
    names: str | None = Field(
        None,
        max_length=200,
        description=(
            "Template of the images' names in their URLs, for example `{sku}-{n}`. Placeholders: `{name}` (product), "
            "`{sku}` (serial number), `{n}` (number of the image in its product), `{original}` (file name in the URL), "
            "`{column}` (header of its column), and any column of the catalogue. Default: `{name}-{n}`."
        ),
    )
    output: OutputMode = Field(
        "append",
        description=(
            "`append`: `output.csv` has a new column with the new URLs. `replace`: they take the place of the old "
            "ones, and everything else stays as it is written in the file."
        ),
    )
    on_failed: OnFailed = Field(
        "empty",
        description=(
            "What `output.csv` has in place of an image that failed: `empty`, `original` (its own URL), or the URL of "
            "an image of yours."
        ),
    )
    catalogue: Catalogue | None = Field(
        None,
        description=(
            "Your name for what this upload is a new version of, such as `shop`. When it has ended, it is compared "
            "with your version before: see `changes` of the batch and `changes.csv`."
        ),
    )
    webhook_url: PublicUrl | None = Field(
        None,
        description="The URL that receives a signed event (POST) when the batch has ended.",
    )
    refresh: bool = Field(
        False,
        description=(
            "Compress every image again. By default, an image already compressed with the same settings is reused if "
            "its server reports no change (`reused`)."
        ),
    )
    validate_only: bool = Field(
        False,
        description="Only check the upload and return a summary (200); nothing is stored or fetched.",
    )

    def specs_with(self, renditions: Sequence[Spec] | None, *, max_pixels: int) -> tuple[Spec, ...]:
        """Return the specs of every image, `main` first.

        Raises:
            InvalidUpload: options contradict each other, or make a rendition of more than `max_pixels`.
        """
        common = self.model_dump(include=set(Compression.model_fields))
        named = {spec.name: {**common, **spec.model_dump(exclude_unset=True)} for spec in renditions or ()}
        main = named.pop("main", common)
        specs = tuple(Spec.model_validate(spec) for spec in (main, *named.values()))
        check_shapes(specs, [spec.name for spec in renditions or ()], max_pixels)
        return specs


class UploadFields(CommonFields):
    """The options of a CSV upload, in the form or in the query string."""

    source_url: PublicUrl | None = Field(None, description=SOURCE_URL)
    columns: Json[Columns] | None = Field(
        None,
        description=(
            "For CSVs with other headers: a JSON object that names the columns, for example "
            f"`{_SHOPIFY}`. With `null` as the serial number, the rows are numbered. `image_urls` may be a list of "
            "several headers."
        ),
    )
    sheet: str | None = Field(
        None,
        max_length=200,
        description="For workbooks: the name of the sheet with the catalogue. The default is the first visible one.",
    )
    renditions: Json[Renditions] | None = Field(
        None, description=f"Several renditions of every image: a JSON {_RENDITIONS}"
    )
    metadata: Json[Metadata] | None = Field(
        None,
        description="Your own data, returned with the batch: a JSON object with up to 16 strings.",
    )


class JsonFields(CommonFields):
    """The members of a JSON upload other than its products."""

    filename: str | None = Field(
        None, max_length=255, description="The name, without folders, from which the names of the reports are derived."
    )
    renditions: Renditions | None = Field(None, description=f"Several renditions of every image: a {_RENDITIONS}")
    metadata: Metadata | None = Field(
        None, description="Your own data, returned with the batch: an object with up to 16 strings."
    )


class JsonSourceFields(JsonFields):
    """The members of a JSON upload that names the URL of its catalogue."""

    source_url: PublicUrl = Field(description=SOURCE_URL)
    columns: Columns | None = Field(None, description="With `source_url`: as in a form, but an object.")
    sheet: str | None = Field(None, max_length=200, description="With `source_url`: the sheet of a workbook.")
