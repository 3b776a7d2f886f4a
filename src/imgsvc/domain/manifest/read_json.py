"""Reads products that are sent as JSON instead of a CSV."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from imgsvc.domain.manifest.builder import ManifestBuilder, ProblemList, too_many_rows
from imgsvc.domain.manifest.columns import ColumnLayout
from imgsvc.domain.manifest.model import DEFAULT_LIMITS, Manifest, ManifestLimits, OnInvalid
from imgsvc.domain.manifest.records import MAX_VALUE, refused
from imgsvc.errors import Problem

HEADER = ("S. No.", "Product Name", "Input Image Urls")
"""The header of the report."""
_LAYOUT = ColumnLayout(",", list(HEADER), 0, 1, (2,))
_MAX_FIELDS = 10
"""The largest number of fields of a product. Without a limit, each unknown field would be a problem of its own."""


def _single_error(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    """Raise one error for an invalid value; pydantic raises one for each of the allowed types."""
    try:
        return validate(value)
    except ValidationError as error:
        raise PydanticCustomError("text_or_integer", "Input should be a string or an integer") from error


class ListedProduct(BaseModel):
    """One product of a JSON upload."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    serial_number: Annotated[str | int | None, WrapValidator(_single_error)] = Field(
        None, description="The default is the number of the product, from 1."
    )
    product_name: str
    input_urls: Annotated[list[str], FailFast()] = Field(description="The URLs of the product's images.")


def read_products(
    products: Sequence[object], *, on_invalid: OnInvalid = "reject", limits: ManifestLimits = DEFAULT_LIMITS
) -> Manifest:
    """Read `products`, as returned by `json.loads`; CPU-bound, call it from a worker thread.

    Raises:
        InvalidManifest: products have problems; counts all of them and lists the first 100, `row` being the number of
            the product.
        LimitExceeded: the list exceeds a limit; reports the first one.
    """
    if len(products) > limits.max_rows:  # before any product is validated: millions of them would take minutes
        raise too_many_rows(limits)
    builder = ManifestBuilder(_LAYOUT, limits, reject=on_invalid == "reject", url_field="input_urls")
    for number, data in enumerate(products, 1):
        product = _validated(data, number, builder.problems)
        if product:
            serial = None if product.serial_number is None else str(product.serial_number)
            builder.add_product(number, serial, product.product_name, product.input_urls)
    if not builder.problems.total:
        builder.check_not_empty("The list of products is empty.")
    if builder.problems.total:
        raise refused(builder.problems.listed, builder.problems.total, unit="product")
    return builder.manifest("utf-8")


def _validated(data: object, number: int, problems: ProblemList) -> ListedProduct | None:
    if isinstance(data, dict) and len(data) > _MAX_FIELDS:
        detail = f"The product has {len(data):,} fields; at most {_MAX_FIELDS} are allowed."
        problems.add(Problem("too_long", detail, number))
        return None
    try:
        return ListedProduct.model_validate(data)
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_context=False):
            column = ".".join(str(part) for part in error["loc"])[:MAX_VALUE] or None
            value = None if error["type"] == "missing" else str(error["input"])[:MAX_VALUE]
            detail = f"{column}: {error['msg']}" if column else error["msg"]
            problems.add(Problem(error["type"], detail, number, column, value))
        return None
