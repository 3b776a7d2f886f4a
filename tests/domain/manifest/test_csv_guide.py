"""docs/csv.md is correct: each example has the result in the line below it, and each report is the code's output."""

import csv
import json
import re

import pytest

from imgsvc.domain.manifest import records
from imgsvc.domain.manifest.columns import ROLES, Columns
from imgsvc.domain.manifest.csv_text import render_rows
from imgsvc.domain.manifest.output import OutputTable
from imgsvc.domain.manifest.presets import BASIC, PRESETS
from imgsvc.domain.manifest.read_csv import Manifest, ManifestLimits, OnInvalid, read_manifest
from imgsvc.domain.manifest.report import Slot, failure_row, failures_layout, output_cells, output_layout
from imgsvc.errors import InvalidManifest
from imgsvc.settings.server import Settings
from support.paths import DOCS

PAGE = (DOCS / "csv.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```csv\n((?:.*\n)*?)```\n(.*)\n(?:\n> (.*)\n)?", PAGE, re.MULTILINE)
REPORTS = re.findall(r"^```text\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
PLAIN = EXAMPLES[0][0]


def read(text: str, result: str) -> Manifest:
    """Read the example with the fields that its result line names."""
    field = re.search(r"`columns=(.*?)`", result)
    columns = Columns.model_validate_json(field[1]) if field else None
    on_invalid: OnInvalid = "skip" if "`on_invalid=skip`" in result else "reject"
    return read_manifest(text.encode(), columns=columns, on_invalid=on_invalid)


def result_of(manifest: Manifest) -> str:
    """Return the result line of an accepted file."""
    products, images = len(manifest.products), len(manifest.assets)
    line = f"{products} product{'s' * (products != 1)}, {images} image{'s' * (images != 1)}"
    if manifest.invalid:
        line += f", of which {len(manifest.invalid)} is invalid"
    if manifest.warnings:
        line += "; warnings: " + ", ".join(f"`{warning.code}`" for warning in manifest.warnings)
    return line


@pytest.mark.parametrize(("text", "result", "quoted"), EXAMPLES)
def test_an_example_has_the_result_in_the_line_below_it(text: str, result: str, quoted: str) -> None:
    try:
        manifest = read(text, result)
    except InvalidManifest as refusal:
        assert result == "→ rejected: " + ", ".join(f"`{problem.code}`" for problem in refusal.problems)
        assert quoted in ("", refusal.detail)
    else:
        assert re.sub(r"^→ (with `.*?`: )?", "", result) == result_of(manifest)
        assert not quoted


def test_every_example_has_a_result_line() -> None:
    assert len(EXAMPLES) == PAGE.count("```csv\n") > 20
    assert all(result.startswith("→ ") for _, result, _ in EXAMPLES)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("encoding", "reported"), [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("cp1252", "cp1252")]
)
def test_the_encodings_and_line_ends_of_the_page_are_read(encoding: str, reported: str, end: str) -> None:
    assert f"`{reported}`" in PAGE
    manifest = read_manifest(PLAIN.replace("mug", "mug é").replace("\n", end).encode(encoding))
    assert manifest.encoding == reported
    assert manifest.products[1].product_name == "Coffee mug é"
    assert result_of(manifest) == "2 products, 3 images"


def test_the_page_has_exactly_the_column_names_in_their_order() -> None:
    rows = re.findall(r"^\| (serial number|product name|image URLs) \| (.*) \|$", PAGE, re.MULTILINE)
    for (_, names), role in zip(rows, ROLES.values(), strict=True):
        aliases = [re.sub(r"[^a-z#]", "", name.lower()) for name in re.findall(r"`(.*?)`", names)]
        assert set(aliases) == set(role.aliases.split()), role.meaning
        assert aliases == sorted(aliases, key=role.aliases.split().index), role.meaning


def test_the_page_has_exactly_the_presets_in_their_order() -> None:
    table = PAGE.partition("| preset |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [*(preset.name for preset in PRESETS), BASIC]


def test_the_limits_are_those_of_the_settings_and_the_parser() -> None:
    documented = dict(re.findall(r"^\| .*? \| ([\d,]+) \| `IMGSVC_(\w+)` \|$", PAGE, re.MULTILINE))
    for limit, name in documented.items():
        assert f"{Settings.model_fields[name.lower()].default:,}" == limit
    assert len(documented) == 4
    assert Settings.model_fields["max_upload_bytes"].default == 64 * 2**20
    for line in (
        f"| columns | {records.MAX_COLUMNS:,} |",
        f"| cells in total | {ManifestLimits().max_cells:,} |",
        f"| characters per cell; per row | {csv.field_size_limit():,}; {records.MAX_RECORD_CHARS:,} |",
        f"| lines per file; per quoted row | {records.MAX_LINES:,}; {records.MAX_RECORD_LINES:,} |",
    ):
        assert line in PAGE, line


def slot(number: int) -> Slot:
    """Return the result of an image; the second one does not exist."""
    if number == 1:
        return Slot(urls=(), status="failed", error="http_404")
    urls = tuple(f"https://img.example/media/{number + 1}{name}.jpg" for name in ("", "-thumb"))
    return Slot(urls=urls, status="succeeded", input_bytes=288_000, output_bytes=60_000)


@pytest.mark.parametrize(
    ("report", "renditions", "extended"),
    [(0, ["main"], False), (1, ["main"], True), (2, ["main", "thumb"], False)],
)
def test_the_outputs_on_the_page_are_those_of_the_code(report: int, renditions: list[str], extended: bool) -> None:
    manifest = read(PLAIN, "")
    layout = output_layout(manifest.header, renditions=renditions, extended=extended)
    rows = [
        layout.row(
            product.cells,
            output_cells([slot(number) for number in product.slots], renditions=len(renditions), extended=extended),
        )
        for product in manifest.products
    ]
    written = render_rows([layout.header, *rows], manifest.delimiter)
    assert REPORTS[report] == written.replace("\r\n", "\n")


def test_the_replaced_output_on_the_page_is_that_of_the_code() -> None:
    sent = REPORTS[3].replace("https://img.example/media/", "https://shop.example/")
    manifest = read_manifest(sent.encode(), keeps_text=True)
    table = OutputTable(manifest.header, manifest.file_format.model_copy(update={"output": "replace"}))
    [product] = manifest.products
    slots = [Slot((url.replace("shop.example/", "img.example/media/"),), "succeeded") for url in manifest.assets]
    row = table.row(product.cells, slots, counts=product.slot_counts, source=product.source)
    assert table.text([table.header(), row], manifest.delimiter) == REPORTS[3]


def test_the_failures_on_the_page_are_those_of_the_code() -> None:
    manifest = read(PLAIN, "")
    layout = failures_layout(manifest.header)
    row = failure_row(
        layout,
        manifest.products[0].cells,
        urls={manifest.file_format.url_columns[0]: [manifest.assets[1]]},
        errors=["http_404: The server has no such image (HTTP 404)."],
    )
    written = render_rows([layout.header, row], manifest.delimiter)
    assert EXAMPLES[-1][0] == written.replace("\r\n", "\n")


def test_the_fields_in_the_commands_are_those_of_the_examples() -> None:
    [command] = re.findall(r"-F 'columns=(.*?)'", PAGE)
    assert command in {field for _, result, _ in EXAMPLES for field in re.findall(r"`columns=(.*?)`", result)}
    assert json.loads(command)
