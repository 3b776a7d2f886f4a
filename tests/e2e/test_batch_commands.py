"""`imgsvc list`, `failures`, `checks`, `retry`, `cancel`, `download` and `--json`, mostly against a scripted server."""

import csv
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from imgsvc.api.openapi.examples import ACCEPTED, BATCH, BATCH_LIST, CANCELLED, EXAMPLE_ID, PRODUCTS, RETRIED
from imgsvc.domain.manifest.csv_text import render_rows
from imgsvc.services.results.checks import HEADER
from support.catalogues import catalogue
from support.command import imgsvc, in_process
from support.origin_server import OriginServer, image_bytes
from support.scripted import BROKEN, Answer, Scripted
from support.stack import Stack, free_port

ONE_PAGE = PRODUCTS | {"has_more": False, "next": None}
VALIDATION = {
    "products": 2,
    "urls": 3,
    "assets": 3,
    "invalid_urls": 1,
    "hosts": [{"host": "picsum.photos", "assets": 3}],
    "hosts_total": 1,
    "warnings": [{"code": "extra_cells", "detail": "More cells.", "row": 3, "column": None, "value": None}],
    "warnings_total": 5,
}


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        yield server


@pytest.fixture
def environment(server: Scripted) -> dict[str, Any]:
    return {"IMGSVC_URL": server.url(""), "IMGSVC_API_KEY": "isk_1"}


async def test_a_batch_with_failures_from_list_to_retry(stack: Stack, origin: OriginServer, tmp_path: Path) -> None:
    """Run every command once against a real imgsvc."""
    options: dict[str, Any] = {"cwd": tmp_path, "IMGSVC_DATA_DIR": str(stack.folder)}
    missing = origin.url("/later.jpg")
    batch_id = await stack.upload(Path(catalogue(tmp_path, missing, origin.serve("/a.jpg", image_bytes()))).read_text())
    await stack.finished(batch_id)

    listed = await imgsvc("list", "--status", "completed_with_errors", **options)
    assert listed.out.splitlines()[1].split()[0] == batch_id
    assert listed.out.splitlines()[1].split()[-4:] == ["completed_with_errors", "2", "2", "1"]

    failed = await imgsvc("failures", batch_id, **options)
    assert "http_404" in failed.out
    assert missing in failed.out
    assert (await imgsvc("failures", batch_id, "--output", "failures.csv", **options)).code == 0
    [row] = csv.DictReader((tmp_path / "failures.csv").read_text(encoding="utf-8").splitlines())
    assert row["Input Image Urls"] == missing

    checked = await imgsvc("checks", batch_id, "--shop", "amazon", "--output", "checks.csv", **options)
    assert (checked.code, checked.out) == (0, "CSV: checks.csv\n")
    [row] = csv.DictReader((tmp_path / "checks.csv").read_text(encoding="utf-8").splitlines())
    assert (row["Input Image Url"], row["Check"]) == (origin.url("/a.jpg"), "amazon_min_size")
    assert (await imgsvc("checks", batch_id, "--shop", "shopify", **options)).out == "There are no remarks.\n"
    refused = await imgsvc("checks", batch_id, "--shop", "ebay", **options)
    assert refused.code == 1
    assert "'google', 'amazon', 'shopify' or 'meta'" in refused.err

    assert (await imgsvc("download", batch_id, "--output", "output.csv", "--extended", **options)).code == 0
    rows = list(csv.DictReader((tmp_path / "output.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["Status"] for row in rows] == ["failed", "succeeded"]

    origin.serve("/later.jpg", image_bytes())
    refused = await imgsvc("retry", batch_id, "--code", "dns_error", **options)
    assert (refused.code, refused.out) == (1, "")
    assert (await imgsvc("retry", batch_id, "--code", "http_404", **options)).code == 0
    assert (await stack.finished(batch_id))["status"] == "completed"
    assert (await imgsvc("failures", batch_id, **options)).out == "No image failed.\n"
    assert (await imgsvc("cancel", batch_id, **options)).code == 1


@pytest.mark.parametrize(
    ("words", "answer", "printed"),
    [
        (["status", EXAMPLE_ID], Answer(200, BATCH), BATCH),
        (["cancel", EXAMPLE_ID], Answer(202, CANCELLED), CANCELLED),
        (["retry", EXAMPLE_ID, "--code", "http_404"], Answer(202, RETRIED), RETRIED),
        (["list", "--limit", "1"], Answer(200, BATCH_LIST), BATCH_LIST["data"]),
    ],
    ids=["status", "cancel", "retry", "list"],
)
async def test_json_output_is_one_document(
    server: Scripted, environment: dict[str, Any], tmp_path: Path, words: list[str], answer: Answer, printed: Any
) -> None:
    server.script(answer)
    done = await in_process(*words, "--json", **environment)
    assert (done.code, done.err) == (0, "")
    batches, expected = [each if isinstance(each, list) else [each] for each in (json.loads(done.out), printed)]
    assert [batch["counts"] for batch in batches] == [batch["counts"] for batch in expected]
    assert [batch["status"] for batch in batches] == [batch["status"] for batch in expected]
    assert server.requests[0].headers["Authorization"] == "Bearer isk_1"


async def test_failures_can_be_printed_as_json(server: Scripted, environment: dict[str, Any], tmp_path: Path) -> None:
    server.script(Answer(200, ONE_PAGE))
    done = await in_process("failures", EXAMPLE_ID, "--json", **environment)
    [failure] = json.loads(done.out)
    assert (failure["product_name"], failure["code"], failure["http_status"]) == ("Mountain print", "http_404", 404)


def checks_csv(rows: int, delimiter: str = ",") -> Answer:
    lines = [HEADER, *[["7", "Mug, blue", "https://s.example/a.jpg", "", "same_image", "2 products.", "", ""]] * rows]
    return Answer(200, render_rows(lines, delimiter), {"Content-Type": "text/csv; charset=utf-8"})


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
async def test_checks_can_be_printed_as_json(
    server: Scripted, environment: dict[str, Any], tmp_path: Path, delimiter: str
) -> None:
    server.script(checks_csv(1, delimiter))
    done = await in_process("checks", EXAMPLE_ID, "--json", "--output", str(tmp_path / "checks.csv"), **environment)
    [remark] = json.loads(done.out)
    assert (remark["serial_number"], remark["product_name"]) == ("7", "Mug, blue")
    assert (remark["check"], remark["source_date"]) == ("same_image", "")
    assert (tmp_path / "checks.csv").read_text(encoding="utf-8").startswith("Serial Number")


async def test_a_long_list_of_checks_is_truncated(server: Scripted, environment: dict[str, Any]) -> None:
    server.script(checks_csv(201))
    done = await in_process("checks", EXAMPLE_ID, **environment)
    assert done.out.count("same_image") == 200
    assert done.out.splitlines()[-1].startswith("… and more: --output")


async def test_a_refusal_prints_json_on_stdout_and_a_message_on_stderr(
    server: Scripted, environment: dict[str, Any], tmp_path: Path
) -> None:
    server.script(Answer(422, {"detail": "The CSV cannot be accepted.", "errors": [], "errors_total": 0}))
    done = await in_process("submit", catalogue(tmp_path, "x"), "--json", **environment)
    assert (done.code, done.err) == (1, "The CSV cannot be accepted.\n")
    assert json.loads(done.out)["detail"] == "The CSV cannot be accepted."


async def test_a_long_list_of_failures_is_truncated(
    server: Scripted, environment: dict[str, Any], tmp_path: Path
) -> None:
    server.script(Answer(200, ONE_PAGE | {"data": ONE_PAGE["data"] * 201}))
    done = await in_process("failures", EXAMPLE_ID, **environment)
    assert done.out.count("http_404") == 200
    assert done.out.splitlines()[-1].startswith("… and more: --output")


async def test_a_character_that_the_terminal_cannot_encode_becomes_a_question_mark(
    server: Scripted, environment: dict[str, Any], tmp_path: Path
) -> None:
    server.script(Answer(200, BATCH))
    done = await imgsvc("status", EXAMPLE_ID, cwd=tmp_path, PYTHONIOENCODING="cp1252", **environment)
    assert (done.code, done.err) == (0, "")
    assert "401.7 kB ? 120.0 kB" in done.out


# -- submit -----------------------------------------------------------------------------------------------------------


async def test_submit_with_wait_prints_one_json_document_and_progress_on_stderr(
    server: Scripted, environment: dict[str, Any], tmp_path: Path
) -> None:
    server.script(Answer(202, ACCEPTED), Answer(200, BATCH), Answer(200, "zip", {"Content-Type": "application/zip"}))
    words = (
        "submit",
        catalogue(tmp_path, "http://x/a.jpg"),
        "--json",
        "--archive",
        str(tmp_path / "images.zip"),
        "--refresh",
    )
    options = ("--renditions", '[{"name": "thumb"}]', "--idempotency-key", "mine")
    done = await in_process(*words, *options, **environment)
    assert done.code == 3
    assert json.loads(done.out)["status"] == "completed_with_errors"
    assert [line for line in done.err.splitlines() if "1 failed" in line]
    assert "http_404 × 1" in done.err.splitlines()
    assert (tmp_path / "images.zip").read_text() == "zip"
    upload = server.requests[0]
    assert upload.headers["Idempotency-Key"] == "mine"
    assert b'name="renditions"\r\n\r\n[{"name": "thumb"}]\r\n' in upload.body
    assert b'name="refresh"\r\n\r\ntrue\r\n' in upload.body


async def test_a_csv_can_be_validated_without_an_upload(
    server: Scripted, environment: dict[str, Any], tmp_path: Path
) -> None:
    server.script(Answer(200, VALIDATION))
    done = await in_process("submit", catalogue(tmp_path, "x"), "--validate", **environment)
    assert (done.code, done.out.splitlines()) == (
        0,
        [
            "2 products, 3 image URLs, 3 distinct images.",
            "1 server: picsum.photos (3)",
            "1 invalid URLs would be skipped.",
            "  line 3: More cells.",
            "  … and 4 more.",
        ],
    )
    assert b'name="validate_only"\r\n\r\ntrue' in server.requests[0].body


@pytest.mark.parametrize(
    "words",
    [
        ["submit", __file__, "--validate", "--wait"],
        ["submit", __file__, "--idempotency-key", "two words"],
        ["download", EXAMPLE_ID],
        ["list", "--limit", "0"],
    ],
    ids=" ".join,
)
async def test_an_invalid_command_sends_no_request(
    server: Scripted, environment: dict[str, Any], tmp_path: Path, words: list[str]
) -> None:
    assert (await in_process(*words, **environment)).code == 2
    assert server.requests == []


async def test_a_server_that_is_down_for_a_moment_is_retried_with_a_notice(
    server: Scripted, environment: dict[str, Any], tmp_path: Path
) -> None:
    server.script(Answer(BROKEN, "{"), Answer(503), Answer(202, ACCEPTED))
    done = await imgsvc("submit", catalogue(tmp_path, "x"), cwd=tmp_path, **environment)
    assert (done.code, done.out) == (0, f"{EXAMPLE_ID}\n")
    assert done.err.count("Trying again for 60 s.") == 1
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1


async def test_a_url_that_never_responded_is_not_retried(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    words = ("submit", catalogue(tmp_path, "x"), "--output", os.devnull, "--url", url)
    done = await imgsvc(*words, cwd=tmp_path, within=50)
    assert (done.code, done.out, done.err.count("No imgsvc answers")) == (1, "", 1)
