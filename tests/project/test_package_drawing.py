"""The drawing of the packages in docs/architecture.md matches the code, and the packages keep their order."""

import ast
import re

from support.package_drawing import (
    IMAGE,
    LAYERS,
    PAGE,
    SOURCE,
    all_imports,
    cycles,
    drawing,
    imports,
    reduced,
    with_table,
)

MAX_PACKAGES = 25
MAX_ARROWS_BETWEEN_SERVICES = 15


def test_the_drawing_and_the_table_are_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), "run `make drawing`"
    assert IMAGE.read_text(encoding="utf-8") == drawing(), "run `make drawing`"


def test_every_package_is_drawn() -> None:
    top = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    inside = {f"{layer}/{path.parent.name}" for layer in LAYERS for path in (SOURCE / layer).glob("*/__init__.py")}
    assert imports().keys() - set(LAYERS) == (top - set(LAYERS)) | inside


def test_no_package_imports_itself_through_others() -> None:
    assert cycles(all_imports()) == []
    assert cycles({"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"b"})}) == ["b", "c"]


def test_the_number_of_packages_stays_small() -> None:
    """The files directly in a layer do not count as a package."""
    assert len(imports().keys() - set(LAYERS)) <= MAX_PACKAGES


def test_few_imports_connect_the_packages_of_the_services() -> None:
    arrows = [
        (package, target)
        for package, targets in imports().items()
        for target in targets
        if package.startswith("services/") and target.startswith("services/")
    ]
    assert len(arrows) <= MAX_ARROWS_BETWEEN_SERVICES


def test_only_imports_that_other_imports_imply_are_left_out() -> None:
    graph = {"a": frozenset({"b", "c"}), "b": frozenset({"c"}), "c": frozenset[str]()}
    assert reduced(graph) == {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset()}


def test_the_path_of_one_jpeg_has_at_most_15_files_and_functions_that_exist() -> None:
    path = (
        PAGE.read_text(encoding="utf-8").partition("<!-- path of one JPEG -->")[2].partition("<!-- end of path -->")[0]
    )
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", path, re.MULTILINE)
    assert 10 < len(rows) <= 15
    for name, function in rows:
        assert function in _functions(ast.parse((SOURCE / name).read_text(encoding="utf-8")))


def _functions(module: ast.Module) -> set[str]:
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    inside = {f"{it.name}.{node.name}" for it in classes for node in it.body if hasattr(node, "name")}
    return inside | {node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
