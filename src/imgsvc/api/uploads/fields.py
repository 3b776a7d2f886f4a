"""The fields of an upload beside its products: their types, limits and descriptions."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, Json, ValidationInfo
from pydantic_core import PydanticCustomError

from imgsvc.domain.addresses import Network, is_allowed, parse_literal
from imgsvc.domain.imaging.spec import Compression, Spec
from imgsvc.domain.manifest.read_csv import Columns, OnInvalid
from imgsvc.domain.manifest.urls import why_invalid
from imgsvc.errors import BlockedAddress, InvalidUrl

_SHOPIFY = '{"serial_number": "Handle", "product_name": "Title", "image_urls": "Image Src"}'
_THUMB = '[{"name": "thumb", "max_width": 200, "max_height": 200}]'
_RENDITIONS = (
    "list of up to 8, each with a `name` of its own, for example "
    f"`{_THUMB}`. What an entry leaves out is as in the fields beside it; those alone make the first one, "
    "`main`, unless an entry has that name. Each further one is a column of its own in the report, "
    "`Output Image Urls (thumb)`."
)
_Key = Annotated[str, Field(max_length=40)]
_Value = Annotated[str, Field(max_length=500)]
Metadata = Annotated[dict[_Key, _Value], Field(max_length=16)]


def check_webhook_url(url: str, info: ValidationInfo) -> str:
    """Addresses that are refused for certain are refused here; names are looked up when the webhook is posted.

    The validation's context has the settings' `allowed_networks`.
    """
    if why := why_invalid(url):
        raise PydanticCustomError(InvalidUrl.code, "{why}", {"why": why})
    networks: Sequence[Network] = (info.context or {}).get("allowed_networks", ())
    address = parse_literal(urlsplit(url).hostname or "")
    if address is not None and not is_allowed(address, networks):
        raise PydanticCustomError(BlockedAddress.code, BlockedAddress.sentence)
    return url


def check_names(renditions: list[Spec]) -> list[Spec]:
    """Each rendition has a name of its own: its column in the report and its address have it too."""
    twice = [name for name, count in Counter(spec.name for spec in renditions).items() if count > 1]
    if twice:
        raise PydanticCustomError("repeated_name", "more than one rendition is called {name}", {"name": twice[0]})
    return renditions


Renditions = Annotated[list[Spec], Field(max_length=8), AfterValidator(check_names)]
WebhookUrl = Annotated[str, Field(max_length=2_048), AfterValidator(check_webhook_url)]


class CommonFields(Compression):
    """What every upload may say: the wish for the main rendition, and how to treat the upload."""

    on_invalid: OnInvalid = Field(
        "reject",
        description="An invalid URL refuses the upload (`reject`), or counts as failed in its slot (`skip`).",
    )
    webhook_url: WebhookUrl | None = Field(
        None,
        description="Where to POST a signed event when the batch has ended.",
    )
    refresh: bool = Field(
        False,
        description=(
            "Compress every image anew. Otherwise one that you had compressed in the same way before, and that has not "
            "changed since by what its server says, is taken over (`reused`)."
        ),
    )
    validate_only: bool = Field(
        False,
        description="Only check the upload, and answer with what was found in it (200); nothing is stored or fetched.",
    )

    def specs_with(self, renditions: Sequence[Spec] | None) -> tuple[Spec, ...]:
        """What every image is compressed to, `main` first."""
        common = self.model_dump(include=set(Compression.model_fields))
        named = {spec.name: {**common, **spec.model_dump(exclude_unset=True)} for spec in renditions or ()}
        main = named.pop("main", common)
        return tuple(Spec.model_validate(wish) for wish in (main, *named.values()))


class UploadFields(CommonFields):
    """The fields beside a CSV: in the form, or in the query string."""

    columns: Json[Columns] | None = Field(
        None,
        description=(
            "For CSVs with other headers, as JSON: which column is which, for example "
            f"`{_SHOPIFY}`; `null` as the serial number numbers the rows."
        ),
    )
    renditions: Json[Renditions] | None = Field(
        None, description=f"Several renditions of every image, as a JSON {_RENDITIONS}"
    )
    metadata: Json[Metadata] | None = Field(
        None,
        description="Up to 16 pairs of your own, as a JSON object of strings; returned with the batch.",
    )


class JsonFields(CommonFields):
    """The members beside the products of a JSON upload."""

    filename: str | None = Field(
        None, max_length=255, description="What the CSV that comes back is named after, without folders."
    )
    renditions: Renditions | None = Field(None, description=f"Several renditions of every image, as a {_RENDITIONS}")
    metadata: Metadata | None = Field(
        None, description="Up to 16 pairs of your own, strings both; returned with the batch."
    )
