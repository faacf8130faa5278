"""A name is a file: what is found, what is loaded, and what is said where neither is possible."""

import importlib
import json
import os
import subprocess
import sys
from itertools import count

import pytest

from archfab import UsageError, registry

EVERY = [(kind, name) for kind in registry.KINDS for name in registry.names(kind)]
_numbers = count()


@pytest.fixture
def user_file(tmp_path):
    """Writes a user's file under a name that no other test uses."""

    def write(text):
        path = tmp_path / f"mine_{next(_numbers)}.py"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def in_a_new_process(code, **more):
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **more}, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- what is there

@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_listed_name_loads(kind, name):
    loaded = registry.load(kind, name)
    assert callable(loaded) or loaded["name"] == name       # a device is data


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_what_is_said_about_a_plugin_is_the_first_line_it_says_itself(kind, name):
    about = registry.describe(kind, name)
    assert {"name", "about", "extra"} <= set(about) and about["name"] == name
    loaded = registry.load(kind, name)
    if isinstance(loaded, dict):
        assert about["about"] == loaded["about"]
    else:
        module = importlib.import_module("archfab." + registry.KINDS[kind].replace("/", ".") + "." + name)
        assert about["about"] == module.__doc__.splitlines()[0]
    assert about["about"] and "\n" not in about["about"]


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_kind_has_a_member_and_a_name_in_the_singular(kind):
    assert registry.names(kind) == tuple(sorted(set(registry.names(kind)))) != ()
    assert registry.SINGULAR[kind]


def test_listing_and_describing_import_no_plugin():
    found = in_a_new_process("""
import json, sys
from archfab import registry
before = set(sys.modules)
about = [registry.describe(kind, name) for kind in registry.KINDS for name in registry.names(kind)]
print(json.dumps([len(about), sorted(set(sys.modules) - before), "torch" in sys.modules]))
""")
    assert found[0] == len(EVERY) and found[2] is False
    assert not [module for module in found[1] if module.startswith(("archfab", "torch", "sklearn"))]


def test_loading_imports_only_what_was_asked_for():
    loaded = in_a_new_process("""
import json, sys
from archfab import registry
registry.load("strategies", "random")
print(json.dumps([module for module in sys.modules if module.startswith("archfab.strategies.")] + ["torch"]
                 * ("torch" in sys.modules)))
""")
    assert loaded == ["archfab.strategies.random"]


# --- what is not

@pytest.mark.parametrize(("kind", "name", "message"), [
    ("strategies", "evolutoin", r"no strategy named 'evolutoin'; known: .*random, .*tpe; did you mean 'evolution'\?"),
    ("tasks", "visoin", r"no task named 'visoin'; known: .*; did you mean 'vision'\?"),
    ("devices", "nul", r"no device named 'nul'; known: .*; did you mean 'null'\?"),
    ("tasks", "zzz", r"no task named 'zzz'; known: .*or give the path"),
    ("tasks", "", "no task named ''"),
    ("tasks", "__init__", "no task named '__init__'"),
    ("tasks", "../tasks/toy", "no task named"),
    ("strategy", "random", r"no kind named 'strategy'; known: .*; did you mean 'strategies'\?")])
def test_an_unknown_name_is_answered_with_what_is_known(kind, name, message):
    with pytest.raises(UsageError, match=message):
        registry.load(kind, name)


def test_an_unknown_kind_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match=r"no kind named 'taks'; known: .*tasks; did you mean 'tasks'\?"):
        registry.names("taks")


def test_describing_an_unknown_name_is_answered_with_what_is_known():
    with pytest.raises(UsageError, match=r"no task named 'vison'.*did you mean 'vision'"):
        registry.describe("tasks", "vison")


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named 'rdkit' ({name})", name="rdkit")

    monkeypatch.setattr("archfab.registry.importlib.import_module", missing)
    with pytest.raises(UsageError, match="task 'toy' needs rdkit; install it: pip install rdkit"):
        registry.load("tasks", "toy")


# --- a user's own file

def test_a_users_file_serves_as_a_name(user_file):
    path = user_file("class Mine:\n    answer = 42\n\nexport = Mine\n")
    assert registry.load("tasks", path).answer == 42
    assert registry.load("tasks", path) is registry.load("strategies", path)     # one file, one module


def test_two_files_of_one_name_are_told_apart(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "twin.py").write_text(f"export = {folder!r}\n")
    found = [registry.load("tasks", str(tmp_path / folder / "twin.py")) for folder in "aba"]
    assert found == ["a", "b", "a"]


def test_a_description_of_a_users_class_is_found_again_while_the_file_is_loaded(user_file):
    from archfab import Space, describe
    path = user_file("import torch\n\nclass Block(torch.nn.Identity):\n    pass\n\nexport = Block\n")
    block = registry.load("tasks", path)
    assert Space.from_data(Space(describe(block)()).data).root.make is block


def test_classes_of_two_files_of_one_name_are_told_apart_in_a_space(tmp_path):
    from archfab import Space, describe
    blocks = []
    for folder in "ab":
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "double.py"
        path.write_text("import torch\n\nclass Block(torch.nn.Identity):\n    pass\n\nexport = Block\n")
        blocks.append(registry.load("tasks", str(path)))
    for block in blocks:
        assert Space.from_data(Space(describe(block)()).data).root.make is block


@pytest.mark.parametrize(("text", "message"), [
    ("def (:\n", r"mine_\d+\.py cannot be loaded: SyntaxError.*line 1"),
    ("import no_such_library\n", r"cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'"),
    ("x = 1 / 0\n", "cannot be loaded: ZeroDivisionError"),
    ("x = 1\n", r"mine_\d+\.py has no line 'export = \.\.\.'"),
    ("", "has no line 'export"),
    ("from archfab import UsageError\nraise UsageError('in its own words')\n", "^in its own words$")])
def test_a_users_file_that_cannot_serve_is_refused_with_the_reason(user_file, text, message):
    with pytest.raises(UsageError, match=message):
        registry.load("tasks", user_file(text))


@pytest.mark.parametrize("text", ["def (:\n", "x = 1 / 0\n"])
def test_a_users_file_that_failed_is_read_again(user_file, text):
    path = user_file(text)
    for _ in range(2):
        with pytest.raises(UsageError, match="cannot be loaded"):
            registry.load("tasks", path)
    with open(path, "w", encoding="utf-8") as file:
        file.write("export = 'mended'\n")
    assert registry.load("tasks", path) == "mended"


def test_a_users_file_that_raises_a_usage_error_says_the_same_the_second_time(user_file):
    path = user_file("from archfab import UsageError\nraise UsageError('in its own words')\n")
    for _ in range(2):
        with pytest.raises(UsageError, match="in its own words"):
            registry.load("tasks", path)


@pytest.mark.parametrize(("name", "message"), [
    ("absent.py", r"there is no Python file .*absent\.py"),
    ("absent.toml", r"there is no file .*absent\.toml"),
    ("folder.py", r"there is no Python file"),
    ("folder.toml", "there is no file")])
def test_a_missing_file_is_named(tmp_path, name, message):
    if name.startswith("folder"):
        (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=message):
        registry.load("tasks", str(tmp_path / name))


def test_a_users_device_file_is_read_as_data_under_its_own_name(tmp_path):
    path = tmp_path / "my-chip.toml"
    path.write_text("about = 'Mine.'\nmodel = 'null'\n")
    assert registry.load("devices", str(path)) == {
        "about": "Mine.", "model": "null", "name": "my-chip", "path": str(path.resolve())}
    path.write_bytes(b"about = \xff")
    with pytest.raises(UsageError, match=r"my-chip\.toml is no TOML file"):
        registry.load("devices", str(path))
    path.write_text("about = ")
    with pytest.raises(UsageError, match=r"my-chip\.toml is no TOML file"):
        registry.load("devices", str(path))


def test_an_installed_package_adds_names_by_entry_point(tmp_path):
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[archfab.strategies]\ntheirs = their_package:Theirs\n")
    (tmp_path / "their_package.py").write_text("class Theirs:\n    answer = 7\n")
    found = in_a_new_process("""
import json, sys
from archfab import registry
listed = registry.names("strategies"), registry.describe("strategies", "theirs")["name"], "their_package" in sys.modules
print(json.dumps([*listed, registry.load("strategies", "theirs").answer]))
""", PYTHONPATH=str(tmp_path))
    assert "theirs" in found[0] and "random" in found[0] and found[1:] == ["theirs", False, 7]


# --- options

def test_the_options_of_a_plugin_are_its_keyword_only_parameters():
    options = registry.settings(registry.load("tasks", "toy"))
    assert {name: parameter.default for name, parameter in options.items()} == {"delay": 0.0, "fail": 0.0}
    assert "space" not in registry.settings(registry.load("strategies", "evolution"))
