"""A few inputs of the fuzzer, always the same ones; benchmarks/fuzz.py runs for any time."""

import subprocess
import sys

import pytest

from support.paths import CORPORA, ROOT

pytestmark = pytest.mark.slow

FUZZ = ROOT / "benchmarks" / "fuzz.py"


@pytest.mark.parametrize(
    ("surface", "inputs"), [("manifest", 150), ("addresses", 3_000), ("images", 150), ("tables", 200)]
)
def test_no_input_raises_an_undeclared_error(surface: str, inputs: int) -> None:
    command = (sys.executable, FUZZ, surface, "--inputs", str(inputs), "--processes", "1", "--corpora", CORPORA)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{surface}, seed 1: {inputs:,} inputs" in done.stdout
