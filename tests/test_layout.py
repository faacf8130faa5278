"""The rules of the house: which way imports point, what start-up brings in, how long files are."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from archfab import registry
from archfab.cli import parser

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "archfab"
FILES = sorted(PACKAGE.rglob("*.py"))

# what a part may import, besides itself and core
MAY = {
    "records": set(), "core": {"records"}, "space": {"registry"}, "metrics": set(), "registry": set(),
    "nn": {"space"}, "lowering": {"space", "nn"}, "learning": set(), "drawing": set(), "exporting": set(),
    "strategies": {"space", "metrics", "surrogates"}, "sampling": {"space"},
    "estimators": {"space", "learning", "lowering", "tables", "registry", "sampling", "hardware"},
    "surrogates": {"space", "metrics"}, "tables": {"space", "metrics"},
    "comparison": {"space", "metrics", "registry", "tables", "runs", "report", "drawing"},
    "tasks": {"space", "nn", "learning", "registry", "tables", "metrics", "drawing", "silicon"},
    "hardware": {"space", "lowering", "exporting", "drawing", "registry", "silicon"},
    "silicon": {"records", "drawing", "metrics", "terminal"},
    "runs": {"space", "metrics", "deliver", "report", "drawing"},
    "executors": {"evaluate"},
}


def imported(path):
    """The parts of archfab that a file imports, wherever in it; what only the type checker reads left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "archfab":
            rest = node.module.split(".")[1:]
            yield from [rest[0]] if rest else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("archfab."))


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    part = part_of(path)
    if part in MAY:
        assert set(imported(path)) <= MAY[part] | {part, "core"}


def test_strategies_never_see_tasks_devices_never_see_tasks_and_tasks_never_see_devices():
    for path in FILES:
        seen, part = set(imported(path)), part_of(path)
        assert not (part == "strategies" and seen & {"tasks", "hardware", "nn", "lowering"})
        assert not (part == "hardware" and "tasks" in seen)
        assert not (part == "tasks" and seen & {"hardware", "strategies"})


@pytest.mark.parametrize("code", ["import archfab", "import archfab.cli; archfab.cli.parser().format_help()",
                                  "import archfab; archfab.search('toy', trials=5, run=RUN)",
                                  "from archfab import registry; [registry.describe(k, n) for k in registry.KINDS "
                                  "for n in registry.names(k)]"])
def test_heavy_libraries_are_imported_only_where_they_are_used(code, tmp_path):
    check = f"RUN = {str(tmp_path / 'run')!r}\nimport sys\n{code}\n" \
        "print(sorted({'torch', 'numpy', 'sklearn', 'matplotlib', 'rich', 'onnx', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_readable(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text)), "a file says in its first line what it is"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_things_have_a_docstring(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


def test_no_pickles_and_no_paths_of_one_machine():
    for path in [*FILES, *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "Makefile"]:
        text = path.read_text()
        assert "import pickle" not in text and "pickle.load" not in text, path
        assert "torch.load(" not in text or "weights_only=True" in text, path
        assert not any(f"/{home}/" in text for home in ("root", "home")), path


def test_every_verb_and_every_plug_in_is_documented():
    pages = "\n".join(path.read_text() for path in [*ROOT.glob("docs/*.md"), ROOT / "README.md"])
    verbs = next(action.choices for action in parser()._actions if action.choices)
    for verb in verbs:
        assert f"archfab {verb}" in pages, f"no page shows `archfab {verb}`"
    for kind in ("tasks", "strategies", "devices", "estimators"):
        for name in registry.names(kind):
            assert f"`{name}`" in pages, f"no page names `{name}` of {kind}"
