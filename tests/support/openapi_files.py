"""Writes docs/openapi.json and docs/api.md; shows the changes, and refuses those that break clients.

make openapi, or make openapi ARGS=--break if a breaking change is intended
"""

import difflib
import json
import sys

from support.api_reference import PAGE, document, page
from support.openapi_compat import breaking_changes
from support.openapi_document import Document
from support.paths import DOCS

FILE = DOCS / "openapi.json"


def text_of(document: Document) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def difference(old: str, new: str) -> str:
    return "".join(
        difflib.unified_diff(
            old.splitlines(keepends=True), new.splitlines(keepends=True), "docs/openapi.json", "the API"
        )
    )


def main(*, may_break: bool) -> int:
    served = document()
    if FILE.exists():
        old = FILE.read_text(encoding="utf-8")
        sys.stdout.write(difference(old, text_of(served)))
        changes = breaking_changes(json.loads(old), served)
        if changes and not may_break:
            sys.stdout.write("\nThese changes break clients of the API; nothing was written:\n")
            sys.stdout.writelines(f"  {change}\n" for change in changes)
            return 1
    FILE.write_text(text_of(served), encoding="utf-8")
    PAGE.write_text(page(served), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(may_break="--break" in sys.argv))
