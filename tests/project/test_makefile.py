"""The messages of `make` on machines where something is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

NAMES = ("python3", "python3.11", "python3.12", "python3.13", "python3.14")
TARGET = ".venv/.runtime"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the files of the project that `make` reads, without a virtual environment."""
    folder = tmp_path / "a checkout with blanks"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, folder)
    return folder


def programs(folder: Path, script: str, *names: str) -> str:
    """Return a PATH on which `names` are this shell script."""
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def make(folder: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Return the exit code, and the output in one line."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", *words], cwd=folder, env=clean | environment, capture_output=True, text=True, check=False, timeout=100
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_without_a_new_enough_python_the_message_names_what_to_install(checkout: Path, tmp_path: Path) -> None:
    code, said = make(checkout, TARGET, PATH=programs(tmp_path, "exit 1", *NAMES))
    assert code != 0
    assert "imgsvc needs Python 3.11 or newer; none was found. Install one" in said
    assert not (checkout / ".venv").exists()


def test_a_given_python_that_is_too_old_is_named_in_the_message(checkout: Path, tmp_path: Path) -> None:
    programs(tmp_path, "exit 1", "old")
    code, said = make(checkout, TARGET, f"PYTHON={tmp_path}/old")
    assert code != 0
    assert f"none was found at {tmp_path}/old." in said


@pytest.mark.slow
def test_a_newer_python_is_preferred_to_an_old_python3(checkout: Path, tmp_path: Path) -> None:
    path = programs(tmp_path, "exit 1", *NAMES)
    programs(tmp_path, f'exec "{sys.executable}" "$@"', "python3.12")
    code, said = make(checkout, TARGET, PATH=path, PIP_NO_INDEX="1")
    assert code != 0  # for want of packages only
    assert "needs Python" not in said
    assert (checkout / ".venv" / "bin" / "python").exists()


def test_without_venv_the_message_names_the_missing_package(checkout: Path, tmp_path: Path) -> None:
    path = programs(tmp_path, '[ "$1" = -c ]', *NAMES)
    code, said = make(checkout, TARGET, PATH=path)
    assert code != 0
    assert "apt install python3-venv" in said


@pytest.mark.slow
def test_an_installation_that_fails_is_explained_and_can_be_repeated(checkout: Path) -> None:
    for _ in range(2):
        code, said = make(checkout, TARGET, f"PYTHON={sys.executable}", PIP_NO_INDEX="1")
        assert code != 0
        assert "The packages could not be installed" in said
        assert "no network?" in said
        assert not (checkout / TARGET).exists()


def test_make_without_a_target_lists_the_targets(checkout: Path) -> None:
    code, said = make(checkout)
    assert code == 0
    assert all(f"make {target} " in said for target in ("up", "demo", "test", "check"))
