"""compose.yaml and .env.example: their structure, and settings and commands that imgsvc accepts."""

import re
from datetime import timedelta
from io import StringIO
from ipaddress import ip_address

import pytest
from dotenv import dotenv_values

import imgsvc
from imgsvc.settings.server import Settings
from support.compose import COMPOSE, EXAMPLE, KILL_AFTER, OWN_SERVICES, SERVICES, assert_is_a_command, load, settings_of


def test_the_services_are_those_of_the_design() -> None:
    assert SERVICES.keys() == {"redis", "migrate", "api", "worker"}
    assert OWN_SERVICES.keys() == {"migrate", "api", "worker"}


def test_every_awaited_condition_can_come_true() -> None:
    for service in SERVICES.values():
        for name, dependency in service.depends_on.items():
            if dependency.condition == "service_healthy":
                assert SERVICES[name].healthcheck, name
            if dependency.condition == "service_completed_successfully":
                assert SERVICES[name].restart == "no", name


def test_api_and_worker_start_after_the_migration_and_redis() -> None:
    for name in ("api", "worker"):
        assert {other: wait.condition for other, wait in SERVICES[name].depends_on.items()} == {
            "migrate": "service_completed_successfully",
            "redis": "service_healthy",
        }


def test_every_volume_is_declared_and_our_containers_share_the_data_folder() -> None:
    mounted = {service.volumes[0].partition(":")[0] for service in OWN_SERVICES.values()}
    assert mounted == COMPOSE.volumes.keys()
    for service in OWN_SERVICES.values():
        [(_, folder)] = [volume.split(":") for volume in service.volumes]
        assert folder == service.environment["IMGSVC_DATA_DIR"]
    assert not SERVICES["redis"].volumes


def test_ports_are_published_on_loopback_only() -> None:
    for service in SERVICES.values():
        for port in service.ports:
            address, _, inside = port.split(":")
            assert ip_address(address).is_loopback
            assert inside == service.environment["IMGSVC_PORT"]
    assert SERVICES["api"].ports


def test_the_number_of_workers_is_not_limited() -> None:
    assert not SERVICES["worker"].ports
    assert all(service.container_name is None for service in SERVICES.values())


@pytest.mark.parametrize("name", OWN_SERVICES)
def test_a_container_gets_settings_that_exist_and_are_accepted(name: str) -> None:
    environment = OWN_SERVICES[name].environment
    assert environment.keys() <= {f"IMGSVC_{field.upper()}" for field in Settings.model_fields}
    settings = settings_of(environment)
    assert (settings.host, settings.auth, settings.public_base) == ("0.0.0.0", "none", "http://127.0.0.1:8000")
    assert settings.redis_url.split("/")[2].partition(":")[0] in SERVICES


def test_the_public_url_comes_from_the_environment() -> None:
    api = load({"IMGSVC_PUBLIC_URL": "https://images.shop.example"}).services["api"]
    assert settings_of(api.environment).public_base == "https://images.shop.example"


@pytest.mark.parametrize("name", OWN_SERVICES)
def test_the_command_of_a_container_exists(name: str) -> None:
    assert_is_a_command(OWN_SERVICES[name].command)


def test_the_image_is_tagged_with_the_version_of_the_code() -> None:
    assert {service.image for service in OWN_SERVICES.values()} == {f"imgsvc:{imgsvc.__version__}"}


def test_containers_are_not_killed_before_their_drain_timeout() -> None:
    for service in OWN_SERVICES.values():
        drain = settings_of(service.environment).drain_timeout
        assert service.stop_grace_period > timedelta(seconds=drain + KILL_AFTER)


def test_a_health_check_ends_before_the_next_one_begins() -> None:
    for service in SERVICES.values():
        if check := service.healthcheck:
            assert timedelta() < check.timeout <= check.interval


def test_redis_keeps_nothing_on_disk_and_drops_nothing() -> None:
    words = SERVICES["redis"].command
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert (options["--save"], options["--appendonly"], options["--maxmemory-policy"]) == ("", "no", "noeviction")


# -- .env.example -----------------------------------------------------------------------------------------------------


def examples() -> dict[str, str]:
    """Return the settings with every `#` before one removed, as python-dotenv reads them."""
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


def test_each_example_setting_has_an_explanation_above_it() -> None:
    before = ""
    for line in EXAMPLE.splitlines():
        if line.startswith("# IMGSVC_"):
            assert re.match(r"# ([A-Z].*[.;]|IMGSVC_\w+=.*)", before), line
        before = line
