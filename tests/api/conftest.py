"""The API on each kind of database; a module that is about HTTP alone says so with a `database_kind` of its own."""

import pytest


@pytest.fixture(params=["sqlite", "postgres"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)
