"""The folders of the package are its architecture: imports run one way, from the top down."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bnexp"

# From the top down. A room may import the rooms that stand below it in this list.
ROOMS = (
    "__main__",
    "cli",
    "api",
    "report",
    "export",
    "verify",
    "figures",
    "analysis",
    "training",
    "networks",
    "recording",
    "data",
    "files",
    "config",
    "errors",
)


def room(path):
    """The room of a module: its folder, or the module itself where it lies at the top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imported(path):
    """Every module of bnexp that a file imports, at any depth of its code, as a dotted name."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room they lead to"
            if node.module == "bnexp":
                names += [f"bnexp.{alias.name}" for alias in node.names]
            elif node.module and node.module.startswith("bnexp."):
                names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [a.name for a in node.names if a.name.startswith("bnexp.")]
    return names


def module_file(name):
    """The file of a dotted name, which may end in a name that the module defines."""
    path = PACKAGE.parent / name.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return module_file(name.rpartition(".")[0])


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_every_module_lives_in_a_room_of_the_list():
    """A new folder must take its place in the order of the rooms."""
    assert {room(path) for path in MODULES} <= {*ROOMS, "__init__"}


def test_every_module_can_be_read_at_a_sitting():
    """None has more than 250 lines."""
    lines = {str(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: n for path, n in lines.items() if n > 250} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_room_and_from_those_below(path):
    """Imports inside functions count as well."""
    if path == PACKAGE / "__init__.py":
        return  # the public interface stands above every room
    here = ROOMS.index(room(path))
    for name in imported(path):
        if name != "bnexp.__version__":
            there = ROOMS.index(room(module_file(name)))
            assert there >= here, f"{path.name} imports {name}, which stands above it"


def test_no_module_imports_itself_by_way_of_others():
    """Within a room too, imports form no circle."""
    arrows = {
        path: {module_file(name) for name in imported(path) if name != "bnexp.__version__"}
        for path in MODULES
    }
    done, under_way = set(), []

    def visit(path):
        if path in under_way:
            circle = [*under_way[under_way.index(path) :], path]
            pytest.fail(" -> ".join(str(each.relative_to(PACKAGE)) for each in circle))
        if path not in done:
            under_way.append(path)
            for target in arrows[path] - {path}:
                visit(target)
            done.add(under_way.pop())

    for path in MODULES:
        visit(path)


@pytest.mark.parametrize("folder", sorted({p.parent for p in MODULES} - {PACKAGE}), ids=str)
def test_each_folder_begins_with_a_paragraph_about_itself(folder):
    """It says what lives there, what it may import, and where to begin reading."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert text is not None
    assert len(text.split()) > 25


# From the one that imports least to the one that imports most: one process imports all.
IMPORTED = {
    "bnexp.analysis.tables": {"torch", "matplotlib"},
    "bnexp.analysis.summary": {"torch", "matplotlib"},
    "bnexp.figures.experiment_figures": {"torch"},
    "bnexp.report.page": {"torch"},
}
PROGRAM = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    importlib.import_module(name)
    found[name] = [each for each in ("torch", "matplotlib") if each in sys.modules]
print(json.dumps(found))
"""


def test_results_are_read_and_shown_without_torch_and_read_without_matplotlib():
    """Whoever reads results need not have it installed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *IMPORTED], capture_output=True, text=True, check=True
    )
    for name, loaded in json.loads(done.stdout).items():
        assert not IMPORTED[name] & {*loaded}, name


def test_no_module_of_tests_has_the_name_of_a_folder_beside_it():
    """pytest would collect the folder alone, and leave the module's tests out without a word."""
    modules = list(Path(__file__).parent.rglob("test_*.py"))
    assert len(modules) > 60
    assert [each for each in modules if each.with_suffix("").is_dir()] == []
