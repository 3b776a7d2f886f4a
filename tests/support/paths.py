"""Folders of the project."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CORPORA = ROOT.parent / "shared" / "corpora"
