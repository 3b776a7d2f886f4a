"""The command line: help texts, commands that end at once, and error messages."""

import logging
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import cleandoc
from pathlib import Path

import pytest
import structlog
import typer
from standardwebhooks import Webhook
from typer.testing import CliRunner, Result

from imgsvc import __version__
from imgsvc.cli import app
from imgsvc.cli.lazy_commands import COMMANDS
from imgsvc.domain.api_keys import key_id_of
from imgsvc.settings.server import Settings
from support.stack import SECRET, free_port

NAMES: tuple[list[str], ...] = (
    [],
    ["up"],
    ["api"],
    ["worker"],
    ["db"],
    ["db", "upgrade"],
    ["keys"],
    ["keys", "create"],
    ["keys", "list"],
    ["keys", "rotate"],
    ["keys", "revoke"],
    ["keys", "secret"],
    ["check"],
    ["demo"],
    ["submit"],
    ["status"],
    ["list"],
    ["failures"],
    ["checks"],
    ["download"],
    ["retry"],
    ["cancel"],
)


@pytest.fixture(autouse=True)
def isolated_logging() -> Iterator[None]:
    """Restores the logging of this process, which a command configures."""
    root = logging.getLogger()
    handlers, level, imgsvc_level = list(root.handlers), root.level, logging.getLogger("imgsvc").level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("imgsvc").setLevel(imgsvc_level)


def imgsvc(*words: str, **settings: str) -> Result:
    """Run a command with IMGSVC_… settings in its environment."""
    environment = {f"IMGSVC_{name.upper()}": value for name, value in settings.items()}
    return CliRunner().invoke(app, words, env={"COLUMNS": "200", **environment})


def test_the_version_is_printed() -> None:
    result = imgsvc("--version")
    assert (result.exit_code, result.output) == (0, f"imgsvc {__version__}\n")


@pytest.mark.parametrize("command", NAMES, ids=" ".join)
def test_every_command_has_a_help_text(command: list[str]) -> None:
    result = imgsvc(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.output
    assert all(option in result.output for option in {"up": ["--host", "--port", "--data-dir", "--workers"]}.get(
        " ".join(command), []
    ))  # fmt: skip


def test_the_list_of_commands_matches_the_help_of_each_command() -> None:
    """This includes commands that are imported only when they are run."""
    for command in COMMANDS:
        own = typer.main.get_command(import_module(command.module).app)
        help_text = getattr(own, "commands", {}).get(command.name, own).help
        assert cleandoc(help_text).partition("\n\n")[0].replace("\n", " ") == command.help


@pytest.mark.parametrize("command", [[], ["db"], ["keys"]], ids=" ".join)
def test_an_incomplete_command_shows_its_help(command: list[str]) -> None:
    assert "Usage: " in imgsvc(*command).output


def test_upgrading_creates_the_database_and_can_be_repeated(tmp_path: Path) -> None:
    for _ in range(2):
        result = imgsvc("db", "upgrade", data_dir=str(tmp_path))
        assert (result.exit_code, result.stdout) == (0, "The database has the newest schema.\n")
    assert (tmp_path / "imgsvc.db").exists()


def test_the_webhook_secret_is_stable_and_valid(tmp_path: Path) -> None:
    imgsvc("db", "upgrade", data_dir=str(tmp_path))
    first, second = [imgsvc("keys", "secret", data_dir=str(tmp_path)) for _ in range(2)]
    assert first.exit_code == 0
    assert first.stdout == second.stdout
    secret = first.stdout.rstrip("\n")
    assert secret.startswith("whsec_")
    assert "\n" not in secret
    Webhook(secret)  # raises if it is not a secret


def test_two_databases_have_different_secrets(tmp_path: Path) -> None:
    secrets = set()
    for name in "ab":
        imgsvc("db", "upgrade", data_dir=str(tmp_path / name))
        secrets.add(imgsvc("keys", "secret", data_dir=str(tmp_path / name)).stdout)
    assert len(secrets) == 2


def test_a_webhook_secret_in_the_settings_takes_precedence(tmp_path: Path) -> None:
    result = imgsvc("keys", "secret", data_dir=str(tmp_path), webhook_secret=SECRET)
    assert result.stdout == f"{SECRET}\n"


def test_an_unreadable_webhook_secret_is_reported_with_a_message(tmp_path: Path) -> None:
    result = imgsvc("keys", "secret", data_dir=str(tmp_path))
    assert result.exit_code == 1
    assert "imgsvc db upgrade" in result.stderr
    assert result.stdout == ""


def test_a_key_is_created_listed_rotated_and_revoked(tmp_path: Path) -> None:
    folder = str(tmp_path)
    made = imgsvc("keys", "create", "the shop", data_dir=folder)  # in an empty folder
    [token] = re.findall(r"^isk_\w+$", made.stdout, re.MULTILINE)
    [key_id] = re.findall(r"key_\w{26}", made.stdout)
    assert key_id_of(token) == key_id
    listed = imgsvc("keys", "list", data_dir=folder).stdout
    assert re.search(rf"{key_id} +\d{{4}}-\d\d-\d\d +active +the shop", listed)
    rotated = imgsvc("keys", "rotate", key_id, data_dir=folder).stdout.strip()
    assert key_id_of(rotated) == key_id
    assert rotated != token
    assert "its previous token is valid until" in imgsvc("keys", "list", data_dir=folder).stdout
    assert imgsvc("keys", "revoke", key_id, data_dir=folder).exit_code == 0
    assert re.search(rf"{key_id} .* revoked \d{{4}}", imgsvc("keys", "list", data_dir=folder).stdout)
    again = imgsvc("keys", "revoke", key_id, data_dir=folder)
    assert (again.exit_code, again.stdout) == (1, "")
    assert key_id in again.stderr


def test_listing_no_keys_explains_that_authentication_is_off(tmp_path: Path) -> None:
    imgsvc("db", "upgrade", data_dir=str(tmp_path))
    assert "every program on this machine may use the API" in imgsvc("keys", "list", data_dir=str(tmp_path)).stdout


def test_each_key_has_a_webhook_secret_that_can_be_rotated(tmp_path: Path) -> None:
    folder = str(tmp_path)
    [key_id] = re.findall(r"key_\w{26}", imgsvc("keys", "create", "shop", data_dir=folder).stdout)
    before = {name: imgsvc("keys", "secret", name, data_dir=folder).stdout for name in (key_id, "key_local")}
    printed = imgsvc("keys", "rotate", key_id, "--webhook-secret", data_dir=folder).stdout
    after = {name: imgsvc("keys", "secret", name, data_dir=folder).stdout for name in (key_id, "key_local")}
    assert printed == after[key_id] != before[key_id] != before["key_local"] == after["key_local"]
    assert imgsvc("keys", "secret", key_id, data_dir=folder, webhook_secret=SECRET).stdout == after[key_id]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_rows", "many"),
        ("connect_timeout", "0"),
        ("total_timeout", "46"),
        ("allowed_networks", "10.0.0.0/8,nonsense"),
        ("public_url", "shop"),
        ("log_level", "LOUD"),
        ("sweep_interval", "61"),
        ("database_url", "postgres://db/imgsvc"),
        ("redis_url", "127.0.0.1:6379"),
        ("redis_url", "redis://user:pa/ss@127.0.0.1/0"),
        ("database_url", "postgresql+asyncpg://127.0.0.1:port/imgsvc"),
        ("database_url", "sqlite+aiosqlite://"),
        ("webhook_secret", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("webhook_secret", "whsec_c2hvcnQ="),
        ("webhook_secret", "whsec_no base 64 at all no base 64 at all"),
    ],
)
@pytest.mark.parametrize("command", [["api"], ["up"], ["worker"], ["db", "upgrade"]], ids=" ".join)
def test_every_command_refuses_an_invalid_setting_by_name(
    tmp_path: Path, command: list[str], setting: str, value: str
) -> None:
    result = imgsvc(*command, data_dir=str(tmp_path), **{setting: value})
    assert result.exit_code == 2
    assert f"IMGSVC_{setting.upper()}: " in result.stderr
    assert value not in result.output or "secret" not in setting
    assert "Traceback" not in result.output


def test_all_invalid_settings_are_reported_at_once(tmp_path: Path) -> None:
    result = imgsvc("db", "upgrade", data_dir=str(tmp_path), max_rows="0", max_pixels="0")
    assert "IMGSVC_MAX_ROWS: " in result.stderr
    assert "IMGSVC_MAX_PIXELS: " in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_contradictory_settings_are_refused_with_a_message(tmp_path: Path) -> None:
    result = imgsvc("db", "upgrade", data_dir=str(tmp_path), lease="600")
    assert result.exit_code == 2
    assert "IMGSVC_LEASE" in result.stderr
    assert "IMGSVC_JOB_TIMEOUT" in result.stderr


@pytest.mark.parametrize("command", ["api", "up"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_listening_for_other_machines_without_a_key_is_refused(tmp_path: Path, command: str, host: str) -> None:
    imgsvc("db", "upgrade", data_dir=str(tmp_path))
    result = imgsvc(command, "--host", host, "--port", str(free_port()), data_dir=str(tmp_path))
    assert result.exit_code == 1
    assert f"Refusing to listen on {host}" in result.stderr
    assert "imgsvc keys create" in result.stderr


@pytest.mark.parametrize("words", [["api", "--port", "0"], ["worker", "--processes", "0"], ["up", "--workers", "65"]])
def test_a_number_out_of_bounds_is_refused(tmp_path: Path, words: list[str]) -> None:
    result = imgsvc(*words, data_dir=str(tmp_path))
    assert result.exit_code == 2
    assert words[1] in result.stderr


def test_an_empty_setting_counts_as_unset(tmp_path: Path) -> None:
    result = imgsvc("db", "upgrade", data_dir=str(tmp_path), max_rows="", webhook_secret="", database_url="", port="")
    assert result.exit_code == 0


def test_an_env_file_with_a_wrong_encoding_is_refused_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes("IMGSVC_USER_AGENT=Größe".encode("latin-1"))
    monkeypatch.setitem(Settings.model_config, "env_file", str(tmp_path / ".env"))
    result = imgsvc("db", "upgrade", data_dir=str(tmp_path))
    assert result.exit_code == 2
    assert ".env is not in UTF-8" in result.stderr


def test_a_database_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql+asyncpg://user:hush@127.0.0.1:{free_port()}/imgsvc"
    for command in (["db", "upgrade"], ["keys", "secret"]):
        result = imgsvc(*command, data_dir=str(tmp_path), database_url=url)
        assert result.exit_code == 1
        assert "postgresql+asyncpg://user:***@127.0.0.1" in result.stderr
        assert "hush" not in result.output


@pytest.mark.parametrize("command", [["api"], ["worker"]], ids=" ".join)
def test_the_service_refuses_to_start_on_an_empty_database(tmp_path: Path, command: list[str]) -> None:
    result = imgsvc(*command, data_dir=str(tmp_path))
    assert result.exit_code == 1
    assert "The database is empty: run `imgsvc db upgrade`" in result.stderr
