"""compose.yaml as Compose reads it, with each part validated against the format."""

import re
import shlex
from datetime import timedelta
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from imgsvc.settings.server import Settings
from support.command import find_command
from support.paths import ROOT

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
KILL_AFTER = 5
"""Seconds after the drain timeout until the supervisor kills a worker."""

# -- the schema, after the Compose Specification: only the keys in use, each as narrow as its use ---------------------


def _duration(text: object) -> timedelta:
    """Parse a duration such as `1m30s` (Compose Specification, "Specifying durations")."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text) if isinstance(text, str) and text else None
    if found is None:
        raise ValueError(f"{text!r} is not a duration")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _pinned(image: str) -> str:
    """Require at least a major and a minor version in the image's tag."""
    if not re.fullmatch(r"[a-z0-9/._-]+:\d+\.\d+[a-z0-9.-]*", image):
        raise ValueError(f"{image} is not pinned")
    return image


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Image = Annotated[str, AfterValidator(_pinned)]
Words = Annotated[list[str], BeforeValidator(lambda words: shlex.split(words) if isinstance(words, str) else words)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Dependency(Strict):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Healthcheck(Strict):
    test: Annotated[list[str], Field(min_length=2)]
    interval: Duration
    timeout: Duration
    retries: int
    start_period: Duration = timedelta()


class EnvFile(Strict):
    path: str
    required: bool


class Service(Strict):
    image: Image
    build: str | None = None
    command: Words
    user: str | None = None
    env_file: list[EnvFile] = []
    environment: dict[str, str] = {}
    volumes: list[str] = []
    tmpfs: list[str] = []
    ports: list[str] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Healthcheck | None = None
    restart: Literal["no", "unless-stopped"]
    stop_grace_period: Duration = timedelta(seconds=10)
    container_name: str | None = None
    read_only: Literal[True]
    cap_drop: Annotated[list[Literal["ALL"]], Field(min_length=1)]
    security_opt: Annotated[list[Literal["no-new-privileges:true"]], Field(min_length=1)]
    init: bool = False


class Compose(Strict):
    name: str
    services: dict[str, Service]
    volumes: dict[str, None]


def load(environment: dict[str, str]) -> Compose:
    """Load the file as Compose does: variables substituted, merge keys resolved, `x-` keys omitted."""
    text = re.sub(
        r"\$\{(\w+):-([^}]*)\}",
        lambda found: environment.get(found[1]) or found[2],
        (ROOT / "compose.yaml").read_text(encoding="utf-8"),
    )
    assert "${" not in text
    document = yaml.safe_load(text)
    return Compose.model_validate({key: value for key, value in document.items() if not key.startswith("x-")})


COMPOSE = load({})
SERVICES = COMPOSE.services
OWN_SERVICES = {name: service for name, service in SERVICES.items() if service.build}


def settings_of(environment: dict[str, str]) -> Settings:
    """Return the settings of a process with no environment other than `environment`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return Settings()


# -- compose.yaml -----------------------------------------------------------------------------------------------------


def assert_is_a_command(words: list[str]) -> None:
    """Parse `words` with the program's own parser, without running the command."""
    command, rest = find_command(words)
    command.make_context("imgsvc", rest).close()
