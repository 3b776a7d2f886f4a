"""The worker processes of one machine share its cores."""

import os

import pytest

from imgsvc.cli.stack import MAX_PROCESSES, default_processes, worker_children
from imgsvc.settings.server import Settings


def threads(settings: Settings, processes: int) -> list[str | None]:
    return [child.env.get("IMGSVC_CODEC_THREADS") for child in worker_children(processes, settings, {"A": "b"})]


@pytest.mark.parametrize(("cores", "processes", "each"), [(1, 1, "1"), (2, 2, "1"), (4, 4, "1"), (16, 4, "4")])
def test_one_process_per_core_and_at_most_four_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, each: str
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert default_processes() == processes <= MAX_PROCESSES
    settings = Settings.model_construct(_fields_set=set(), codec_threads=cores)
    assert threads(settings, default_processes()) == [each] * processes


def test_configured_codec_threads_apply_to_each_process() -> None:
    assert threads(Settings(codec_threads=3), 2) == [None, None]
