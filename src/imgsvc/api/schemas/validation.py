"""The JSON of an upload that was only validated."""

from typing import Literal

from pydantic import BaseModel, Field

from imgsvc.api.schemas import manifests
from imgsvc.services.intake.submit import Validation


class HostOut(BaseModel):
    host: str = Field(examples=["cdn.shop.example"])
    assets: int = Field(description="Distinct URLs.")


class ValidationOut(BaseModel):
    """The summary of an upload that would be accepted."""

    object: Literal["validation"] = "validation"
    products: int = Field(description="Data rows.")
    urls: int = Field(description="URLs, including repeated ones.")
    assets: int = Field(description="Distinct URLs.")
    invalid_urls: int = Field(description="Distinct invalid URLs, which would fail at once (`on_invalid=skip`).")
    hosts: list[HostOut] = Field(description="The 20 hosts with the most images, most images first.")
    hosts_total: int
    format: manifests.FormatName
    sheet: manifests.SheetName
    encoding: str
    delimiter: str
    preset: manifests.PresetName
    columns: manifests.ColumnsOut
    warnings: list[manifests.Warning] = Field(description="The first 100 warnings.")
    warnings_total: int


def validation_out(validation: Validation) -> ValidationOut:
    """Convert a validation to its JSON."""
    manifest = validation.manifest
    return ValidationOut(
        products=len(manifest.products),
        urls=manifest.url_count,
        assets=len(manifest.assets),
        invalid_urls=len(manifest.invalid),
        hosts=[HostOut(host=host, assets=assets) for host, assets in validation.hosts],
        hosts_total=validation.hosts_total,
        encoding=manifest.encoding,
        delimiter=manifest.delimiter,
        format=manifest.file_format.format,
        sheet=manifest.file_format.sheet,
        preset=manifest.file_format.preset,
        columns=manifests.columns_out(manifest.header, manifest.file_format),
        warnings=[manifests.Warning.model_validate(warning, from_attributes=True) for warning in manifest.warnings],
        warnings_total=manifest.warnings_total,
    )
