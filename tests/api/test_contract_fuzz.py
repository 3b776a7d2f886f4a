"""Generated requests to every operation: no response is a server error, and every response matches the document."""

from collections.abc import AsyncIterator
from typing import Any

import hypothesis
import pytest
import schemathesis
import structlog
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from imgsvc.api.app import create_app
from imgsvc.bootstrap import Resources
from imgsvc.settings.server import Settings
from support.api_calls import CSV, ONE_ROW

pytestmark = pytest.mark.slow

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
OPERATIONS = (
    "create_batch",
    "get_batch",
    "list_products",
    "get_output_csv",
    "get_output_file",
    "get_failures_csv",
    "get_changes_csv",
    "get_checks_csv",
    "get_archive",
    "stream_events",
    "list_batches",
    "cancel_batch",
    "retry_batch",
    "delete_batch",
    "list_deliveries",
    "redeliver_event",
    "try_webhook",
    "get_media",
    "get_health",
    "get_readiness",
    "get_metrics",
)
# Operations with no input except an id in the path, where any text is valid but may be unknown.
WITHOUT_INVALID_INPUT = (
    "stream_events", "get_metrics", "get_media", "get_health", "cancel_batch", "delete_batch", "list_deliveries",
    "redeliver_event",
)  # fmt: skip
SKIPPED = {(name, GenerationMode.NEGATIVE) for name in WITHOUT_INVALID_INPUT}
BATCH_OPERATIONS = (
    "get_batch",
    "list_products",
    "get_output_csv",
    "get_output_file",
    "get_failures_csv",
    "get_changes_csv",
    "get_checks_csv",
    "get_archive",
    "list_deliveries",
    "cancel_batch",
    "retry_batch",
)
Case = schemathesis.Case[Any]
RESPONSE_TIMEOUT = 60
"""Seconds that a response may take; other tests may use the machine at the same time."""
EXAMPLES = hypothesis.settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


@pytest.fixture
async def schema(settings: Settings, resources: Resources) -> AsyncIterator[OpenApiSchema]:
    """The document that the application serves; the application is called in process, and all components work."""
    await resources.queue.heartbeat("a worker")
    with (
        structlog.testing.capture_logs()
    ):  # after a failure, printing hundreds of tracebacks would take longer than the tests
        try:
            yield schemathesis.openapi.from_asgi("/openapi.json", create_app(settings))
        finally:
            asgi.shutdown_lifespans()


def test_every_operation_is_fuzzed(schema: OpenApiSchema) -> None:
    paths = schema.raw_schema["paths"].values()
    assert {operation["operationId"] for methods in paths for operation in methods.values()} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name in OPERATIONS for mode in GenerationMode if (name, mode) not in SKIPPED],
)
def test_every_response_is_as_documented(schema: OpenApiSchema, name: str, mode: GenerationMode) -> None:
    operation = schema.find_operation_by_id(name)

    @hypothesis.given(operation.as_strategy(mode))
    @EXAMPLES
    def answers_as_documented(case: Case) -> None:
        case.call_and_validate(checks=CHECKS, timeout=RESPONSE_TIMEOUT)

    answers_as_documented()


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name in BATCH_OPERATIONS for mode in GenerationMode if (name, mode) not in SKIPPED],
)
def test_every_response_about_an_existing_batch_is_as_documented(
    schema: OpenApiSchema, name: str, mode: GenerationMode
) -> None:
    with asgi.get_client(schema.app) as client:
        batch = client.post("/v1/batches", data=ONE_ROW, headers=CSV).json()
    operation = schema.find_operation_by_id(name)

    @hypothesis.given(operation.as_strategy(mode, path_parameters={"batch_id": batch["id"]}))
    @EXAMPLES
    def answers_as_documented(case: Case) -> None:
        case.query.pop("wait", None)  # it would delay the response
        case.call_and_validate(checks=CHECKS, timeout=RESPONSE_TIMEOUT)

    answers_as_documented()
