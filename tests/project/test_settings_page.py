"""docs/settings.md agrees with the settings in the code."""

import re

from imgsvc.settings.client import ClientSettings
from imgsvc.settings.server import ADVANCED, Settings
from support.paths import ROOT
from support.settings_page import PAGE, SECTIONS, page, section_of, shown_default


def rows() -> dict[str, list[str]]:
    """Return the cells of each setting's row after its name."""
    found = re.findall(r"^\| `IMGSVC_(\w+)` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name.lower(): cells.split(" | ") for name, cells in found}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make settings`"


def test_every_setting_has_a_row_with_its_default_and_its_description() -> None:
    settings = {**Settings.model_fields, **ClientSettings.model_fields}
    assert rows().keys() == settings.keys()
    for name, (default, _value, meaning) in rows().items():
        assert default == shown_default(name, settings[name].default)
        assert settings[name].description
        assert meaning.endswith(settings[name].description or "")
        assert meaning.startswith("**Advanced.**") == (name in ADVANCED)


def test_every_bound_of_a_setting_is_named() -> None:
    for name, (_default, value, _meaning) in rows().items():
        field = {**Settings.model_fields, **ClientSettings.model_fields}[name]
        bounds = {
            f"{getattr(limit, kind):,}"
            for limit in field.metadata
            for kind in ("ge", "gt", "le", "lt")
            if getattr(limit, kind, None) is not None
        }
        assert set(re.findall(r"(?:at least|more than|at most|less than) ([\d,.]+)(?:, |$)", value)) == bounds, name


def test_every_section_of_settings_has_a_heading() -> None:
    assert set(section_of().values()) == set(SECTIONS)


def test_only_existing_settings_are_marked_as_advanced() -> None:
    assert set(Settings.model_fields) > ADVANCED


def test_every_setting_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    unused = [name for name in Settings.model_fields if not re.search(rf"(settings|self)\.{name}\b", text)]
    assert unused == []
