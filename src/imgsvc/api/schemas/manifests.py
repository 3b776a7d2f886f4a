"""The JSON of an uploaded file: how it was read."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from imgsvc.db.tables import Batch
from imgsvc.domain.manifest.file_format import FileFormat
from imgsvc.services.batches.read import file_format


class Warning(BaseModel):  # noqa: A001  # the schema's public name; the built-in is not needed here
    """A questionable row of a CSV that was accepted."""

    row: int | None
    column: str | None
    code: str
    value: str | None
    detail: str


PresetName = Annotated[
    str | None,
    Field(
        description="The known format by whose headers the columns were found; `basic` for the usual names.",
        examples=["shopify"],
    ),
]


class ColumnsOut(BaseModel):
    """The header of each recognised column; `serial_number` is null if the products are numbered."""

    serial_number: str | None
    product_name: str
    image_urls: str = Field(description="The first of the image columns.")
    image_columns: list[str] = Field(description="All image columns.")


FormatName = Annotated[
    str, Field(description="The format of the file: `csv`, `tsv`, `xlsx`, `ods`, `jsonl` or `xml`.", examples=["csv"])
]
SheetName = Annotated[str | None, Field(description="The sheet of a workbook that was read.")]


class ManifestOut(BaseModel):
    """The uploaded CSV and how it was read."""

    filename: str | None
    source_url: str | None = Field(description="Where the service fetched the file itself.")
    sha256: str
    format: FormatName
    sheet: SheetName
    encoding: str
    delimiter: str
    preset: PresetName
    columns: ColumnsOut | None = Field(description="Null for batches of versions that did not record them.")
    warnings: list[Warning] = Field(description="The first 100 warnings.")
    warnings_total: int


def columns_out(header: Sequence[str], file: FileFormat) -> ColumnsOut:
    """Convert the recognised columns to their headers."""
    images = [header[index] for index in file.url_columns]
    return ColumnsOut(
        serial_number=None if file.serial_column is None else header[file.serial_column],
        product_name=header[file.name_column or 0],
        image_urls=images[0],
        image_columns=images,
    )


def manifest_out(batch: Batch) -> ManifestOut:
    """Convert what is known of a batch's file to its JSON."""
    file = file_format(batch)
    return ManifestOut(
        filename=batch.filename,
        source_url=batch.source["url"] if batch.source else None,
        sha256=batch.manifest_sha256,
        format=file.format,
        sheet=file.sheet,
        encoding=batch.encoding,
        delimiter=batch.delimiter,
        preset=file.preset,
        columns=None if file.name_column is None else columns_out(batch.header, file),
        warnings=[Warning(**warning) for warning in batch.warnings],
        warnings_total=batch.warnings_total,
    )
