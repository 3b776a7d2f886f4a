"""The client and the commands that use a server need few packages: none of the server's is imported."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.paths import ROOT


def named(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LIGHT = named(PROJECT["dependencies"])
SERVER = named(PROJECT["optional-dependencies"]["server"]) | {"sqlalchemy", "starlette"}
OF_BOTH = {"python-dotenv"}  # pydantic-settings brings it along


def loaded_by(code: str) -> set[str]:
    """Return the packages that a new interpreter has loaded after `code`."""
    listing = "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}{listing}"], capture_output=True, text=True, check=True, timeout=60
    )
    owners = packages_distributions()
    modules = done.stdout.splitlines()[-1].split()
    return {canonicalize_name(owner) for module in modules for owner in owners.get(module, ())}


def commanded(*words: str, code: int = 0) -> str:
    return (
        "from typer.testing import CliRunner; from imgsvc.cli import app; "
        f"assert CliRunner().invoke(app, {words!r}).exit_code == {code}"
    )


@pytest.mark.parametrize(
    "code",
    [
        "import imgsvc.client",
        commanded("--help"),
        commanded("status", "--help"),
        commanded("list", "--url", "http://127.0.0.1:1", code=1),
    ],
)
def test_none_of_the_servers_packages_is_loaded(code: str) -> None:
    loaded = loaded_by(code)
    assert "httpx" in loaded
    assert not loaded & (SERVER - OF_BOTH)


def test_a_command_of_the_service_loads_the_servers_packages() -> None:
    """This shows that the test above can fail."""
    loaded = loaded_by("import imgsvc.cli.api")
    assert {"fastapi", "sqlalchemy", "pillow"} <= loaded


def test_a_command_of_the_service_names_the_missing_packages() -> None:
    code = "import sys; sys.modules['fastapi'] = None; from imgsvc.cli import app; app(['api'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == "`imgsvc api` needs the packages of the server: pip install '.[server]' in a clone of the repository.\n"
    )


def test_no_package_is_required_twice() -> None:
    assert not LIGHT & SERVER
