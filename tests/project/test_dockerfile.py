"""The Dockerfile and .dockerignore: linted, and what they name exists."""

import asyncio
import json
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest
from packaging.specifiers import SpecifierSet

from imgsvc.bootstrap import check_access
from imgsvc.cli.stack import upgrade_database
from imgsvc.errors import StartupError
from imgsvc.settings.server import Settings
from support.compose import OWN_SERVICES, assert_is_a_command
from support.paths import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    (name, " ".join(rest.split()))
    for name, rest in re.findall(r"^([A-Z]+) (.*)$", re.sub(r"\\\n", " ", TEXT), flags=re.MULTILINE)
]
FINAL = INSTRUCTIONS[max(number for number, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]
IGNORE = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]


def final(name: str) -> str:
    """Return the argument of the last instruction of that name in the final image."""
    return [rest for instruction, rest in FINAL if instruction == name][-1]


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(final("ENV")))


def copied() -> list[str]:
    """Return the paths that are copied from the checkout."""
    copies = [shlex.split(rest) for name, rest in INSTRUCTIONS if name == "COPY" and "--from=" not in rest]
    return [source for words in copies for source in words[:-1]]


def reaches_the_build(path: str) -> bool:
    """Return whether .dockerignore lets `path` through: the last pattern that matches it or a parent folder decides."""
    places = [str(place) for place in (PurePosixPath(path), *PurePosixPath(path).parents)][:-1]
    ignored = False
    for line in IGNORE:
        pattern = line.removeprefix("!")
        anywhere = pattern.removeprefix("**/")
        depth = anywhere.count("/") + 1
        for place in places:
            parts = place.split("/")
            tail = "/".join(parts[-depth:]) if anywhere != pattern else place
            if tail.count("/") == anywhere.count("/") and fnmatch(tail, anywhere):
                ignored = line == pattern
    return not ignored


def test_hadolint_reports_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    said = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")
    assert "hadolint ignore" not in TEXT


def test_the_container_runs_a_command_that_imgsvc_has() -> None:
    assert json.loads(final("ENTRYPOINT")) == ["imgsvc"]
    assert_is_a_command(json.loads(final("CMD")))


def test_copied_files_exist_and_are_sent_to_the_build() -> None:
    assert len(copied()) >= 5
    for source in copied():
        assert (ROOT / source).exists(), source
        assert reaches_the_build(PurePosixPath(source).as_posix()), source


@pytest.mark.parametrize("path", ["src/imgsvc/db/engine.py", "alembic/env.py"])
def test_files_in_a_copied_folder_are_sent_to_the_build(path: str) -> None:
    assert (ROOT / path).is_file()
    assert reaches_the_build(path)


@pytest.mark.parametrize(
    "path",
    [
        ".env", ".env.example", ".git", ".git/config", ".venv", ".venv/bin/python", "data", "data/imgsvc.db",
        "shop.csv", "src/imgsvc/__pycache__/config.cpython-311.pyc", "src/.env", "tests/support/stack.py",
    ],
)  # fmt: skip
def test_private_and_large_files_are_not_sent_to_the_build(path: str) -> None:
    assert not reaches_the_build(path)


def test_every_stage_pins_a_python_that_the_project_supports() -> None:
    wanted = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    images = [rest.split()[0] for name, rest in INSTRUCTIONS if name == "FROM"]
    assert len(images) == 2
    assert len(set(images)) == 1
    found = re.fullmatch(r"python:(\d+\.\d+)-slim-[a-z]+", images[0])
    assert found
    assert wanted.contains(found[1])


def test_the_container_is_not_run_as_root() -> None:
    user, _, group = final("USER").partition(":")
    assert int(user) > 999
    assert int(group) > 999
    assert f"--uid {user} " in TEXT
    assert f"--gid {group} " in TEXT


def test_the_data_folder_is_the_volume_and_the_settings_mean_the_same_as_in_compose() -> None:
    ours = {name: value for name, value in environment().items() if name.startswith("IMGSVC_")}
    assert ours["IMGSVC_DATA_DIR"] == final("VOLUME")
    for service in OWN_SERVICES.values():
        assert ours.items() <= service.environment.items()
        assert final("EXPOSE") == service.environment["IMGSVC_PORT"] == str(Settings.model_fields["port"].default)


def test_a_container_refuses_to_start_without_authentication_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without IMGSVC_AUTH=none, which compose.yaml sets, the image's own settings are refused."""
    for name, value in environment().items():
        if name.startswith("IMGSVC_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMGSVC_DATA_DIR", str(tmp_path))
    settings = Settings()
    asyncio.run(upgrade_database(settings))
    with pytest.raises(StartupError, match="IMGSVC_AUTH=none"):
        asyncio.run(check_access(settings))


def test_the_wheel_contains_the_migrations(tmp_path: Path) -> None:
    """The Dockerfile builds it in the same way. Without migrations `imgsvc db upgrade` has nothing to run."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--no-build-isolation", "--no-deps", "--wheel-dir", tmp_path, ROOT),
        ],
        check=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("imgsvc/alembic/")}
    wanted = [*(ROOT / "alembic").glob("*.*"), *(ROOT / "alembic" / "versions").glob("*.py")]
    assert inside == {f"imgsvc/{path.relative_to(ROOT).as_posix()}" for path in wanted}
