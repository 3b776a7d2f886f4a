"""Products that come as JSON instead of a CSV."""

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

from imgsvc.domain.manifest.builder import Findings, ManifestBuilder, too_many_rows
from imgsvc.domain.manifest.columns import Layout
from imgsvc.domain.manifest.model import DEFAULT_LIMITS, Manifest, ManifestLimits, OnInvalid
from imgsvc.domain.manifest.records import MAX_VALUE, refused
from imgsvc.errors import Problem

HEADER = ("S. No.", "Product Name", "Input Image Urls")
"""Of the CSV that comes back."""
_LAYOUT = Layout(",", list(HEADER), 0, 1, 2)
_MAX_MEMBERS = 10
"""Of a product: each one that is unknown would be a problem of its own."""


def _one_complaint(value: object, check: ValidatorFunctionWrapHandler) -> object:
    """pydantic has one for each type that the value could have."""
    try:
        return check(value)
    except ValidationError as error:
        raise PydanticCustomError("text_or_integer", "Input should be a text or an integer") from error


class ListedProduct(BaseModel):
    """One product of a JSON upload."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    serial_number: Annotated[str | int | None, WrapValidator(_one_complaint)] = Field(
        None, description="Without one the product is numbered, from 1."
    )
    product_name: str
    input_urls: Annotated[list[str], FailFast()] = Field(description="Addresses of its images.")


def read_products(
    products: Sequence[object], *, on_invalid: OnInvalid = "reject", limits: ManifestLimits = DEFAULT_LIMITS
) -> Manifest:
    """The manifest of `products` as `json.loads` gives them; CPU-bound, call it from a worker thread.

    Raises:
        InvalidManifest: with every problem, at most 100 of them listed; `row` is the number of the product.
        LimitExceeded: the first limit that the list is over.
    """
    if len(products) > limits.max_rows:  # before any is looked at: millions of them would take minutes
        raise too_many_rows(limits)
    rows = ManifestBuilder(_LAYOUT, limits, reject=on_invalid == "reject", urls_named="input_urls")
    for number, given in enumerate(products, 1):
        product = _checked(given, number, rows.problems)
        if product:
            serial = None if product.serial_number is None else str(product.serial_number)
            rows.add_product(number, serial, product.product_name, product.input_urls)
    if not rows.problems.total:
        rows.check_not_empty("The list of products is empty.")
    if rows.problems.total:
        raise refused(rows.problems.listed, rows.problems.total, place="product")
    return rows.manifest("utf-8")


def _checked(given: object, number: int, problems: Findings) -> ListedProduct | None:
    if isinstance(given, dict) and len(given) > _MAX_MEMBERS:
        problems.add(Problem("too_long", f"A product has {len(given):,} members.", number))
        return None
    try:
        return ListedProduct.model_validate(given)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_context=False):
            column = ".".join(str(part) for part in found["loc"])[:MAX_VALUE] or None
            value = None if found["type"] == "missing" else str(found["input"])[:MAX_VALUE]
            detail = f"{column}: {found['msg']}" if column else found["msg"]
            problems.add(Problem(found["type"], detail, number, column, value))
        return None
