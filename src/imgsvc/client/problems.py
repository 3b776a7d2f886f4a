"""Why the server refuses something (RFC 9457), and the base of everything that it sends."""

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """What the server sends; what a newer one adds is left out."""

    model_config = ConfigDict(frozen=True)


class ProblemError(Wire):
    """One thing wrong with an upload; `row` is the line of the CSV, 1 being the first, `column` a header or a field."""

    detail: str
    code: str | None = None
    row: int | None = None
    column: str | None = None
    value: str | None = None


class Problem(Wire):
    """Why a request was refused; `errors` lists the first 100 of `errors_total`, `type` is stable."""

    type: str | None = None
    title: str | None = None
    status: int | None = None
    detail: str | None = None
    instance: str | None = None
    request_id: str | None = None
    errors: list[ProblemError] = []
    errors_total: int = 0
