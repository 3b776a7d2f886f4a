"""An upload as it arrives: multipart form or a bare CSV with a query string, validated into an `Upload`."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from fastapi import Request
from pydantic import AfterValidator, ConfigDict, Field, Json, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError
from starlette.datastructures import FormData, UploadFile

from imgsvc.api.problems import from_pydantic
from imgsvc.api.receiving import UploadRoom, received_body, received_form
from imgsvc.domain.addresses import Network, is_allowed, literal
from imgsvc.domain.manifest import Columns, OnInvalid
from imgsvc.domain.specs import Compression, Spec
from imgsvc.domain.urls import why_invalid
from imgsvc.errors import BlockedAddress, InvalidUpload, InvalidUrl, Problem, UnsupportedMediaType
from imgsvc.services.uploading import Upload

MULTIPART = "multipart/form-data"
CSV_TYPES = ("text/csv", "application/csv", "text/plain")
_SHOPIFY = '{"serial_number": "Handle", "product_name": "Title", "image_urls": "Image Src"}'
_THUMB = '[{"name": "thumb", "max_width": 200, "max_height": 200}]'
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
    address = literal(urlsplit(url).hostname or "")
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


class UploadFields(Compression):
    """The fields beside the file: the wish for the main rendition, and how to treat the upload."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: Json[Columns] | None = Field(
        None,
        description=(
            "For CSVs with other headers, as JSON: which column is which, for example "
            f"`{_SHOPIFY}`; `null` as the serial number numbers the rows."
        ),
    )
    on_invalid: OnInvalid = Field(
        "reject",
        description="An invalid URL refuses the upload (`reject`), or counts as failed in its slot (`skip`).",
    )
    webhook_url: WebhookUrl | None = Field(
        None,
        description="Where to POST a signed event when the batch has ended.",
    )
    renditions: Json[Renditions] | None = Field(
        None,
        description=(
            "Several renditions of every image, as a JSON list of up to 8, each with a `name` of its own, for example "
            f"`{_THUMB}`. What an entry leaves out is as in the fields beside it; those alone make the first one, "
            "`main`, unless an entry has that name. Each further one is a column of its own in the report, "
            "`Output Image Urls (thumb)`."
        ),
    )
    refresh: bool = Field(
        False,
        description=(
            "Compress every image anew. Otherwise one that you had compressed in the same way before, and that has not "
            "changed since by what its server says, is taken over (`reused`)."
        ),
    )
    metadata: Json[Metadata] | None = Field(
        None,
        description="Up to 16 pairs of your own, as a JSON object of strings; returned with the batch.",
    )

    def specs(self) -> tuple[Spec, ...]:
        """What every image is compressed to, `main` first."""
        common = self.model_dump(include=set(Compression.model_fields))
        named = {spec.name: {**common, **spec.model_dump(exclude_unset=True)} for spec in self.renditions or ()}
        main = named.pop("main", common)
        return tuple(Spec.model_validate(wish) for wish in (main, *named.values()))


@asynccontextmanager
async def read_upload(
    request: Request,
    *,
    room: UploadRoom,
    api_key_id: str,
    idempotency_key: str | None,
    allowed_networks: Sequence[Network],
) -> AsyncIterator[Upload]:
    """The upload that `request` carries, in memory for as long as it is being worked on.

    Raises:
        UnsupportedMediaType: neither multipart nor CSV.
        InvalidUpload: with every field that cannot be accepted.
        HTTPException: the body is too large (413) or not readable as multipart (400).
        StorageError: there is no place for it on the disk.
    """
    async with _received(request) as (file, pairs):
        fields = _fields(pairs, allowed_networks)
        with await room.take(api_key_id, file.size or 0):
            yield Upload(
                data=await file.read(),
                filename=_name(file),
                specs=fields.specs(),
                columns=fields.columns,
                on_invalid=fields.on_invalid,
                webhook_url=fields.webhook_url,
                refresh=fields.refresh,
                metadata=fields.metadata or {},
                idempotency_key=idempotency_key,
            )


@asynccontextmanager
async def _received(request: Request) -> AsyncIterator[tuple[UploadFile, list[tuple[str, str]]]]:
    """The file, and the fields beside it."""
    query = request.query_params.multi_items()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == MULTIPART:
        async with received_form(request) as form:
            fields = [(name, str(value)) for name, value in form.multi_items() if name != "file"]
            yield _file(form), [*query, *fields]
    elif media_type in CSV_TYPES:
        async with received_body(request) as file:
            yield file, query
    else:
        raise UnsupportedMediaType(
            f"Send {MULTIPART} with the CSV as `file`, or the CSV itself as text/csv"
            + (f", not {media_type}." if media_type else "; the request names no Content-Type.")
        )


def _file(form: FormData) -> UploadFile:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        missing = Problem(code="missing", detail="file: the CSV is sent as a file in the field `file`.", column="file")
        raise InvalidUpload("The upload has no file.", (missing,))
    return file


def _name(file: UploadFile) -> str | None:
    """Without the folders that some programs put before it."""
    name = unquote(file.filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in name if letter.isprintable())[:255] or None


def _fields(pairs: Sequence[tuple[str, str]], allowed_networks: Sequence[Network]) -> UploadFields:
    """Validate the fields; one left empty in a form counts as not given."""
    given: dict[str, Any] = {name: value for name, value in pairs if value != ""}
    times = Counter(name for name, value in pairs if value != "")
    problems = [
        Problem(code="repeated", detail=f"{name}: given {count} times.", column=name)
        for name, count in times.items()
        if count > 1
    ]
    try:
        fields = UploadFields.model_validate(given, context={"allowed_networks": allowed_networks})
    except ValidationError as error:
        problems += from_pydantic(error.errors(include_url=False, include_context=False))
    if problems:
        listed = "; ".join(problem.detail for problem in problems[:3])
        raise InvalidUpload(f"The upload's fields cannot be accepted: {listed}", tuple(problems))
    return fields
