"""Writes docs/settings.md from the classes of settings.

make settings
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from imgsvc.settings.client import PREFIX, ClientSettings, SharedSettings
from imgsvc.settings.server import ADVANCED, Settings
from support.paths import DOCS

PAGE = DOCS / "settings.md"

SECTIONS = (
    "Storage",
    "Network",
    "Authentication",
    "Webhooks",
    "Upload limits",
    "Outgoing network",
    "Fetching",
    "Compression",
    "Workers",
    "Metrics and logging",
    "Retention",
    "Commands that use a server",
)
"""The order of the headings. A heading is a comment above its fields in the class."""

INTRODUCTION = f"""\
# Settings

<!-- written by `make settings` from src/imgsvc/settings; edit the descriptions there -->

Each setting is an environment variable or a line in a file `.env` in the folder where a process starts; the environment
wins. An empty value counts as unset. Wrong values are refused at start, all at once, and `imgsvc check` names variables
that begin with `{PREFIX}` and are not settings. All processes of one service need the same settings.
[.env.example](../.env.example) has those that people change.

**Advanced** settings fit every installation: leave them as they are. Some depend on each other, and a combination that
cannot work is refused at start. Write numbers such as 67,108,864 without the commas; commas separate the entries of a
list.
"""

KINDS = {
    "allowed_networks": "list of networks (CIDR)",
    "key_weights": "list of `key=weight`, 0.01 to 100",
    "webhook_schedule": "list of seconds",
    "log_level": "`DEBUG`, `INFO`, `WARNING` or `ERROR`",
    "retention": "seconds",
}
"""Kinds that the type of the field does not show."""

BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def page() -> str:
    fields = {**SharedSettings.model_fields, **Settings.model_fields, **ClientSettings.model_fields}
    lines = [INTRODUCTION]
    for section in SECTIONS:
        lines.append(f"\n## {section}\n\n| setting | default | value | meaning |\n|---|---|---|---|\n")
        lines += [_row(name, fields[name]) for name in fields if section_of()[name] == section]
    return "".join(lines)


def section_of() -> dict[str, str]:
    """Return the section of each setting: the nearest comment above its field."""
    return {
        name: section
        for settings in (SharedSettings, Settings, ClientSettings)
        for name, section in _sections(inspect.getsource(settings))
    }


def _sections(source: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in source.splitlines():
        if comment := re.fullmatch(r"    # (\w.*)", line):
            section = comment[1]
        elif field := re.match(r"    (\w+): ", line):
            yield field[1], section


def _row(name: str, field: FieldInfo) -> str:
    meaning = field.description or ""
    advanced = "**Advanced.** " if name in ADVANCED else ""
    cells = (f"`{PREFIX}{name.upper()}`", shown_default(name, field.default), _value(name, field), advanced + meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def shown_default(name: str, default: Any) -> str:
    if name == "codec_threads":
        return "the cores, shared among the workers"
    if name == "port" or isinstance(default, bool):
        return str(default).lower()
    if default in (None, "", (), {}):
        return "unset"
    if isinstance(default, tuple):
        return ", ".join(str(each) for each in default)
    if isinstance(default, int | float):
        return f"{default:,g}" if isinstance(default, float) else f"{default:,}"
    return f"./{default}" if isinstance(default, Path) else str(default)


def _value(name: str, field: FieldInfo) -> str:
    limits = [
        f"{words} {getattr(limit, kind):,}"
        for kind, words in BOUNDS.items()
        for limit in field.metadata
        if getattr(limit, kind, None) is not None
    ]
    return ", ".join([_kind(name, field.annotation), *limits])


def _kind(name: str, annotation: Any) -> str:
    types = set(get_args(annotation) or (annotation,))
    if name in KINDS:
        return KINDS[name]
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    if bool in types:
        return "`true` or `false`"
    if float in types or name.endswith("_interval"):
        return "seconds"
    if int in types:
        return next((unit for unit in ("bytes", "pixels") if name.endswith(f"_{unit}")), "number")
    return "path" if Path in types else "URL" if name.endswith("url") else "text"


if __name__ == "__main__":
    sys.exit(not PAGE.write_text(page(), encoding="utf-8"))
