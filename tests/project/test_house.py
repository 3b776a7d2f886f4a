"""Rules of the code that a machine can check: sizes, imports, forbidden words, job names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgsvc.adapters.redis import job as jobs
from imgsvc.worker.arq_worker import job_functions, sweep_schedule
from support.language import violations
from support.paths import ROOT

SOURCE = ROOT / "src" / "imgsvc"
MODULES = {path.relative_to(SOURCE).as_posix(): path for path in sorted(SOURCE.rglob("*.py"))}
OURS = [
    path
    for folder in ("src", "tests", "docs", "alembic", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix in {".py", ".md", ".toml", ".ini", ".mako", ".csv"}
] + [path for path in sorted(ROOT.iterdir()) if path.is_file() and not path.name.startswith(".")]

MAX_FILE_LINES = 200
LARGER = {  # a growing file is a visible change here
    "bootstrap.py": 222,
    "settings/server.py": 250,
    "errors.py": 390,
    "db/tables.py": 330,
    "client/client.py": 220,  # a method for each call
    "services/ports.py": 234,  # a list of all ports
}
IMPORTS_IN_FUNCTIONS = {"adapters/redis/embedded_valkey.py"}  # an optional extra
CATCHES_EVERYTHING = {
    "api/live/watcher.py",
    "services/processing/process_asset.py",
    "worker/jobs.py",
}  # the top of work that no caller awaits


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("name", MODULES)
def test_a_file_has_at_most_its_allowed_lines(name: str) -> None:
    lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= LARGER.get(name, MAX_FILE_LINES)


def test_the_list_of_larger_files_has_only_larger_files() -> None:
    for name in LARGER:
        assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) > MAX_FILE_LINES


@pytest.mark.parametrize("name", MODULES)
def test_every_file_has_a_docstring_that_begins_with_a_sentence(name: str) -> None:
    docstring = ast.get_docstring(tree(MODULES[name]))
    assert docstring
    assert docstring.partition("\n\n")[0].endswith((".", ":"))


def test_imports_are_at_the_top_of_a_file() -> None:
    inside = {
        name
        for name, path in MODULES.items()
        for function in functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert inside == IMPORTS_IN_FUNCTIONS


def test_only_the_listed_files_catch_every_exception() -> None:
    catching = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    }
    assert catching == CATCHES_EVERYTHING


def test_no_module_calls_print_or_breakpoint() -> None:
    printing = [
        name
        for name, path in MODULES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "breakpoint"}
    ]
    assert printing == []


def test_no_python_code_runs_between_fork_and_exec() -> None:
    """Another thread may hold a lock, and the new process would wait for it forever."""
    parameter = "preexec" + "_fn"
    calling = [path.name for path in OURS if re.search(rf"\b{parameter}\s*=", path.read_text(encoding="utf-8"))]
    assert calling == []


def test_no_file_has_a_mark_for_later_work() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert [path.name for path in OURS if marks.search(path.read_text(encoding="utf-8"))] == []


def test_no_file_contains_a_path_of_the_developers_machine() -> None:
    telling = [f"{ROOT}/", f"{ROOT.parent}/shared", f"{Path.home()}/."]
    found = [(path.name, words) for path in OURS for words in telling if words in path.read_text(encoding="utf-8")]
    assert found == []


def test_no_file_names_a_package_registry() -> None:
    registries = re.compile(
        r"(?<!no-emit-)(?<!-)index-url\s*[= ]\s*\S|extra-index|find-links\s*[= ]\s*http|pythonhosted"
    )
    found = [path.name for path in OURS if path != Path(__file__) and registries.search(path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_every_package_by_hash_and_names_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    packages = [entry for entry in re.split(r"\n(?=\S)", text) if entry.strip() and not entry.startswith("#")]
    assert len(packages) > 20
    for entry in packages:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,._-]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_the_runtime_lock_is_a_part_of_the_development_lock() -> None:
    pins = [
        set(re.findall(r"^[a-z0-9._-]+==\S+", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))
        for lock in ("requirements.lock", "requirements-dev.lock")
    ]
    assert pins[0] <= pins[1]


# -- jobs -------------------------------------------------------------------------------------------------------------


def _enqueued() -> set[str]:
    """Return the name of every function that a job is built for."""
    return {
        getattr(jobs, node.args[1].id)
        for name in ("job", "queue")
        for node in ast.walk(tree(MODULES[f"adapters/redis/{name}.py"]))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Job"
        and isinstance(node.args[1], ast.Name)
    }


def test_every_job_that_is_enqueued_has_a_function_in_a_worker() -> None:
    assert _enqueued() == {function.name for functions in job_functions().values() for function in functions}


def test_each_sweep_runs_under_its_name_and_at_start() -> None:
    schedules = sweep_schedule(15)
    assert [schedule.name for schedule in schedules] == [
        jobs.SWEEP_LANES,
        jobs.SWEEP_DELIVERIES,
        jobs.SWEEP_CLEAN_UPS,
    ]
    for schedule in schedules:
        assert schedule.run_at_startup
        assert schedule.second == {0, 15, 30, 45}


def test_no_module_enqueues_without_the_queue_adapter() -> None:
    assert [name for name, path in MODULES.items() if "enqueue_job(" in path.read_text(encoding="utf-8")] == []
    assert {name for name, path in MODULES.items() if "(ENQUEUE)" in path.read_text(encoding="utf-8")} == {
        "adapters/redis/queue.py"
    }


# -- language ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "alembic", "docs"])
def test_sentences_are_plain_english(folder: str) -> None:
    rules = {Path(__file__), ROOT / "tests" / "support" / "language.py"}
    paths = sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".md"} and path not in rules)
    found = [f"{path.relative_to(ROOT)}:{violation}" for path in paths for violation in violations(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('def f():\n    """What it does."""\n', "opening"),
        ('def f():\n    """The sum."""\n', "verb"),
        ("# read it anew\n", "word"),
        ("tally = 1\n", "name"),
        (f"def test_{'a' * 80}(): ...\n", "letters"),
    ],
)
def test_a_sentence_or_name_against_the_rules_is_found(tmp_path: Path, text: str, rule: str) -> None:
    path = tmp_path / "src" / "module.py"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    [violation] = violations(path)
    assert rule in violation
