"""docs/problems.md has every type of problem with its status, and no other."""

import re

from imgsvc.api.problems.types import STATUSES, TITLES, TYPES
from support.paths import ROOT

PAGE = (ROOT / "docs" / "problems.md").read_text(encoding="utf-8")


def test_every_type_has_a_line_with_its_status() -> None:
    written = {(kind, int(status)) for kind, status in re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PAGE, re.MULTILINE)}
    ours = {(kind.code, status) for kind, (status, _) in STATUSES.items()}
    frameworks = {(code, status) for status, (code, _) in TITLES.items()}
    assert {f"urn:imgsvc:problem:{kind}" for kind, _ in written} | {"urn:imgsvc:problem:refused"} == set(TYPES)
    assert written == {(code.replace("_", "-"), status) for code, status in ours | frameworks}


def test_every_code_of_a_problem_or_a_warning_is_shown() -> None:
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for part in ("domain", "api")
        for path in (ROOT / "src" / "imgsvc" / part).rglob("*.py")
    )
    pattern = r"""(?:Problem\(|_warn\(|= \()\s*(?:code=)?"([a-z]+_[a-z_]+|missing|repeated)","""
    codes = set(re.findall(pattern, sources))
    assert len(codes) > 15
    shown = set(re.findall(r"`([a-z_]+)`", PAGE))
    assert codes <= shown, codes - shown
