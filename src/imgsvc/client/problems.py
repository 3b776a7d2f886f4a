"""The server's error documents (RFC 9457), and the base class of all models of the API."""

from pydantic import BaseModel, ConfigDict


class ApiModel(BaseModel):
    """A JSON object of the API; fields that a newer server adds are ignored."""

    model_config = ConfigDict(frozen=True)


class ProblemError(ApiModel):
    """One error in an upload; `row` is the line of the CSV, counted from 1, `column` a header or a field."""

    detail: str
    code: str | None = None
    row: int | None = None
    column: str | None = None
    value: str | None = None


class Problem(ApiModel):
    """The reason for a refused request; `errors` has the first 100 of `errors_total`, `type` is stable."""

    type: str | None = None
    title: str | None = None
    status: int | None = None
    detail: str | None = None
    instance: str | None = None
    request_id: str | None = None
    errors: list[ProblemError] = []
    errors_total: int = 0
