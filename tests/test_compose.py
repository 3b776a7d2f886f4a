"""compose.yaml and .env.example: their shape, and that what they say means something to imgsvc."""

import re
import shlex
from datetime import timedelta
from io import StringIO
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

import imgsvc
from command import named
from imgsvc.settings.server import Settings

ROOT = Path(__file__).parents[1]
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
KILL_AFTER = 5
"""Seconds beyond the drain time-out that the supervisor gives a worker before it kills it."""

# -- the shape, after the Compose Specification: only the keys in use, each as narrow as it is used -------------------


def _duration(text: object) -> timedelta:
    """`1m30s`, as the specification's "Specifying durations" says."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text) if isinstance(text, str) and text else None
    if found is None:
        raise ValueError(f"{text!r} is no duration")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _pinned(image: str) -> str:
    """Major and minor version at least."""
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
    """The file as Compose reads it: variables filled in, merge keys resolved, `x-` left out."""
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
OURS = {name: service for name, service in SERVICES.items() if service.build}


def settings_of(environment: dict[str, str]) -> Settings:
    """The settings of a process that has `environment` and nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return Settings()


# -- compose.yaml -----------------------------------------------------------------------------------------------------


def test_the_parts_are_the_ones_that_the_design_names() -> None:
    assert SERVICES.keys() == {"redis", "migrate", "api", "worker"}
    assert OURS.keys() == {"migrate", "api", "worker"}


def test_who_waits_for_a_service_waits_for_something_that_comes() -> None:
    for service in SERVICES.values():
        for name, dependency in service.depends_on.items():
            if dependency.condition == "service_healthy":
                assert SERVICES[name].healthcheck, name
            if dependency.condition == "service_completed_successfully":
                assert SERVICES[name].restart == "no", name


def test_api_and_worker_start_when_the_schema_is_there_and_redis_answers() -> None:
    for name in ("api", "worker"):
        assert {other: wait.condition for other, wait in SERVICES[name].depends_on.items()} == {
            "migrate": "service_completed_successfully",
            "redis": "service_healthy",
        }


def test_every_volume_is_declared_and_our_containers_share_the_data_folder() -> None:
    mounted = {service.volumes[0].partition(":")[0] for service in OURS.values()}
    assert mounted == COMPOSE.volumes.keys()
    for service in OURS.values():
        [(_, folder)] = [volume.split(":") for volume in service.volumes]
        assert folder == service.environment["IMGSVC_DATA_DIR"]
    assert not SERVICES["redis"].volumes


def test_what_is_published_is_published_on_loopback_only() -> None:
    for service in SERVICES.values():
        for port in service.ports:
            address, _, inside = port.split(":")
            assert ip_address(address).is_loopback
            assert inside == service.environment["IMGSVC_PORT"]
    assert SERVICES["api"].ports


def test_there_may_be_as_many_workers_as_one_likes() -> None:
    assert not SERVICES["worker"].ports
    assert all(service.container_name is None for service in SERVICES.values())


@pytest.mark.parametrize("name", OURS)
def test_a_container_gets_settings_that_exist_and_are_accepted(name: str) -> None:
    environment = OURS[name].environment
    assert environment.keys() <= {f"IMGSVC_{field.upper()}" for field in Settings.model_fields}
    settings = settings_of(environment)
    assert (settings.host, settings.auth, settings.public_base) == ("0.0.0.0", "none", "http://127.0.0.1:8000")
    assert settings.redis_url.split("/")[2].partition(":")[0] in SERVICES


def test_the_public_url_comes_from_the_environment() -> None:
    api = load({"IMGSVC_PUBLIC_URL": "https://images.shop.example"}).services["api"]
    assert settings_of(api.environment).public_base == "https://images.shop.example"


@pytest.mark.parametrize("name", OURS)
def test_a_command_is_one_that_imgsvc_has(name: str) -> None:
    assert_is_a_command(OURS[name].command)


def assert_is_a_command(words: list[str]) -> None:
    """Parses `words` with the program's own parser, and runs nothing."""
    command, rest = named(words)
    command.make_context("imgsvc", rest).close()


def test_the_image_is_tagged_with_the_version_of_the_code() -> None:
    assert {service.image for service in OURS.values()} == {f"imgsvc:{imgsvc.__version__}"}


def test_nothing_is_killed_before_it_had_its_time_to_stop() -> None:
    for service in OURS.values():
        drain = settings_of(service.environment).drain_timeout
        assert service.stop_grace_period > timedelta(seconds=drain + KILL_AFTER)


def test_a_health_check_answers_sooner_than_the_next_one_is_made() -> None:
    for service in SERVICES.values():
        if check := service.healthcheck:
            assert timedelta() < check.timeout <= check.interval


def test_redis_keeps_nothing_on_disk_and_drops_nothing() -> None:
    words = SERVICES["redis"].command
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert (options["--save"], options["--appendonly"], options["--maxmemory-policy"]) == ("", "no", "noeviction")


# -- .env.example -----------------------------------------------------------------------------------------------------


def examples() -> dict[str, str]:
    """The settings as if every `#` before one were taken off, as python-dotenv reads them."""
    uncommented = re.sub(r"^# (IMGSVC_\w+=)", r"\1", EXAMPLE, flags=re.MULTILINE)
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(uncommented)).items()}


def test_the_example_settings_exist_and_are_accepted() -> None:
    given = examples()
    assert len(given) >= 12
    assert given.keys() <= {f"IMGSVC_{field.upper()}" for field in Settings.model_fields}
    settings_of({name: value for name, value in given.items() if value})


def test_the_example_changes_nothing_and_holds_no_secret_until_it_is_edited() -> None:
    assert all(line.startswith("#") for line in EXAMPLE.splitlines() if line)
    assert examples()["IMGSVC_WEBHOOK_SECRET"] == ""
    assert not re.search(r"whsec_\w|://[^/\s]*:[^/\s]*@", EXAMPLE)


def test_each_example_setting_has_a_line_above_it_that_says_what_it_is() -> None:
    before = ""
    for line in EXAMPLE.splitlines():
        if line.startswith("# IMGSVC_"):
            assert re.match(r"# ([A-Z].*[.;]|IMGSVC_\w+=.*)", before), line
        before = line
