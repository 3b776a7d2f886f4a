"""The README's table of settings is the settings' own."""

import re
from pathlib import Path
from typing import Any

from imgsvc.settings.server import Settings
from support.paths import ROOT


def _shown(name: str, default: Any) -> str:
    """A default as the README shows it."""
    if name == "codec_threads":
        return "a share of the cores"
    if name == "port" or isinstance(default, bool):
        return str(default).lower()
    if default in (None, "", ()):
        return "unset"
    if isinstance(default, tuple):
        return ", ".join(str(each) for each in default)
    if isinstance(default, int | float):
        return f"{default:,g}" if isinstance(default, float) else f"{default:,}"
    return f"./{default}" if isinstance(default, Path) else str(default)


def _settings_table() -> list[tuple[str, ...]]:
    rows = re.findall(r"^\| `(IMGSVC_\w+)` \|(.*)\|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [(name, *(cell.strip() for cell in rest.split(" | "))) for name, rest in rows]


def test_the_readme_lists_every_setting_with_its_default_and_meaning() -> None:
    written = [(name, default, meaning) for name, default, _bound, meaning in _settings_table()]
    real = [
        (f"IMGSVC_{name.upper()}", _shown(name, field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]
    assert sorted(written) == sorted(real)


def test_the_readme_names_every_bound_of_a_setting() -> None:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    for name, _default, bound, _meaning in _settings_table():
        field = Settings.model_fields[name.removeprefix("IMGSVC_").lower()]
        real = [
            f"{sign} {getattr(limit, kind):,}"
            for limit in field.metadata
            for kind, sign in signs.items()
            if getattr(limit, kind, None) is not None
        ]
        assert sorted(filter(None, bound.split(", "))) == sorted(real), name


def test_every_setting_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    unused = [name for name in Settings.model_fields if not re.search(rf"(settings|self)\.{name}\b", text)]
    assert unused == []
