"""CSV files for tests of the command line."""

from pathlib import Path

HEADER = "S. No.,Product Name,Input Image Urls\n"


def catalogue(folder: Path, *urls: str) -> str:
    """Write a CSV with one product for each URL, and return its path."""
    path = folder / "catalog.csv"
    path.write_text(HEADER + "".join(f"{number},Thing {number},{url}\n" for number, url in enumerate(urls, start=1)))
    return str(path)
