"""A few of the fuzzer's inputs, always the same ones; benchmarks/fuzz.py goes on for as long as it is told to."""

import subprocess
import sys

import pytest

from support.paths import CORPORA, ROOT

pytestmark = pytest.mark.slow

FUZZ = ROOT / "benchmarks" / "fuzz.py"


@pytest.mark.parametrize(("surface", "inputs"), [("manifest", 150), ("addresses", 3_000), ("images", 150)])
def test_nothing_comes_up_that_is_not_declared(surface: str, inputs: int) -> None:
    command = (sys.executable, FUZZ, surface, "--inputs", str(inputs), "--processes", "1", "--corpora", CORPORA)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{surface}, seed 1: {inputs:,} inputs" in done.stdout
