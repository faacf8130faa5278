"""A name is a file: plug-ins are found by folder, loaded when used, and a path serves where a name does."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import math
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any

from archfab.core import UsageError, unknown

HERE = Path(__file__).parent
KINDS = {
    "tasks": "tasks", "strategies": "strategies", "estimators": "estimators", "executors": "executors",
    "devices": "hardware/devices", "cost-models": "hardware/models", "lowerings": "lowering",
    "sampling": "sampling",
}
SINGULAR = {"tasks": "task", "strategies": "strategy", "estimators": "estimator", "executors": "executor",
            "devices": "device", "cost-models": "cost model", "lowerings": "lowering", "sampling": "sampling rule"}


def names(kind: str) -> tuple[str, ...]:
    """The known names of a kind, ours, installed ones and the user's own, without importing any."""
    return tuple(sorted({*bundled(kind), *_own(kind)}))


@cache
def bundled(kind: str) -> tuple[str, ...]:
    """The names that come with archfab or with an installed package."""
    if kind not in KINDS:
        raise unknown("kind", kind, list(KINDS))
    folder = HERE / KINDS[kind]
    ours = {path.stem for path in folder.iterdir() if _is_plugin(path)}
    return tuple(sorted(ours | set(_installed(kind))))


def own_devices() -> Path:
    """The folder of the user's own devices: ARCHFAB_DEVICES, else .archfab/devices in the home folder."""
    return Path(os.environ.get("ARCHFAB_DEVICES") or Path.home() / ".archfab" / "devices")


def _own(kind: str) -> dict[str, Path]:
    """The user's own devices by name; a bundled name stays the bundled device."""
    folder = own_devices()
    if kind != "devices" or not folder.is_dir():
        return {}
    return {path.stem: path for path in sorted(folder.glob("*.toml")) if _is_plugin(path)
            and path.stem not in bundled(kind)}


def load(kind: str, name: str) -> Any:
    """The plug-in of a kind by its name, or by the path of a file that defines it."""
    known = names(kind)
    if _is_path(str(name)):
        return _read(Path(name))
    if name not in known:
        raise unknown(SINGULAR[kind], name, known, "(or give the path of a file that defines one)")
    if name in _installed(kind):
        return _installed(kind)[name].load()
    path = HERE / KINDS[kind] / name
    if (file := _own(kind).get(name) or path.with_name(f"{name}.toml")).exists():
        return _read(file)
    module = "archfab." + KINDS[kind].replace("/", ".") + "." + name
    try:
        return importlib.import_module(module).export
    except ModuleNotFoundError as error:
        extra = describe(kind, name)["extra"]
        install = f"pip install 'archfab[{extra}]'" if extra else f"pip install {error.name}"
        raise UsageError(f"{SINGULAR[kind]} '{name}' needs {error.name}; install it: {install}") from None


def describe(kind: str, name: str) -> dict[str, Any]:
    """A plug-in's name, its one sentence, and the extra that it needs, read without importing it."""
    if name not in names(kind):
        raise unknown(SINGULAR[kind], name, names(kind))
    if name in _installed(kind):
        return {"name": name, "about": _installed(kind)[name].value, "extra": None}
    path = HERE / KINDS[kind] / name
    if name in (own := _own(kind)):
        return _described(own[name])
    if path.with_name(f"{name}.toml").exists():
        return _described(path.with_name(f"{name}.toml"))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    about = (ast.get_docstring(tree) or "").split("\n")[0]
    extra = next((node.value.value for node in tree.body if isinstance(node, ast.Assign)
                  and getattr(node.targets[0], "id", "") == "EXTRA" and isinstance(node.value, ast.Constant)), None)
    return {"name": name, "about": about, "extra": extra}


def user_file(path: Path) -> ModuleType:
    """A user's own .py file as a module; the same file is loaded once."""
    path = path.resolve()
    try:
        content = hashlib.sha256(path.read_bytes()).hexdigest()[:8]     # so that a changed file is another module
    except OSError:
        raise UsageError(f"there is no Python file {path}") from None
    name = f"archfab_file_{re.sub(r'[^0-9A-Za-z]', '_', path.stem)}_{content}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UsageError:
        sys.modules.pop(name, None)
        raise
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise UsageError(f"{path.name} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def settings(plugin: Any) -> dict[str, Parameter]:
    """The options that a plug-in's constructor takes, by name: its keyword-only parameters."""
    return {name: parameter for name, parameter in inspect.signature(plugin).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY}


def options(plugin: Any) -> list[dict[str, Any]]:
    """What can be set of a plug-in: each option's name on the command line, its default, and what it means."""
    if not callable(plugin):
        return []
    parts = re.split(r":param (\w+):", (inspect.getdoc(plugin) or "") + "\n\n")
    about = {each: " ".join(text.split("\n\n")[0].split()).rstrip(";,")
             for each, text in zip(parts[1::2], parts[2::2], strict=True)}
    return [{"name": "--" + each.replace("_", "-"), "default": parameter.default, "about": about.get(each, "")}
            for each, parameter in settings(plugin).items()]


def settled(name: Any) -> Any:
    """A file's path in full, so that a run can be resumed from any folder; a name as it is."""
    return str(Path(name).resolve()) if isinstance(name, str) and name.endswith((".py", ".toml")) else name


def typed(name: str, value: Any, parameter: Parameter) -> Any:
    """A text from the command line as the type that the option is declared with."""
    if not isinstance(value, str):
        return value
    kinds = annotation(parameter)
    if "str" in kinds or "Path" in kinds:
        return value
    try:
        if "bool" in kinds:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]
        number = int(value) if "int" in kinds and "float" not in kinds else float(value)
        if not math.isfinite(number):
            raise ValueError
        return number
    except (ValueError, KeyError):
        words = {"bool": "yes or no", "int": "a whole number", "float": "a number"}
        legal = next((words[kind] for kind in ("bool", "float", "int") if kind in kinds), kinds)
        raise UsageError(f"--{name.replace('_', '-')} takes {legal}, not '{value}'") from None


def annotation(parameter: Parameter) -> str:
    """The type that an option is declared with, in words; without a declaration, the type of its default."""
    if parameter.annotation is not Parameter.empty:
        return getattr(parameter.annotation, "__name__", None) or str(parameter.annotation)
    return "str" if parameter.default in (None, Parameter.empty) else type(parameter.default).__name__


def _described(path: Path) -> dict[str, Any]:
    """What a device file says of itself, and what its cost model needs; a broken file does not hide the others."""
    try:
        numbers = _read(path)
        model = str(numbers.get("model", ""))
        return {"name": path.stem, "about": str(numbers.get("about", "")),
                "extra": describe("cost-models", model)["extra"], "model": model}
    except UsageError as error:
        return {"name": path.stem, "about": f"cannot be used: {error}", "extra": None, "model": ""}


def _is_plugin(path: Path) -> bool:
    named = not path.name.startswith(("_", "."))
    return named and (path.suffix in (".py", ".toml") or (path / "__init__.py").exists())


def _is_path(name: str) -> bool:
    return name.endswith((".py", ".toml"))


@cache
def _installed(kind: str) -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"archfab.{kind}")}


def _read(path: Path) -> Any:
    if path.suffix == ".py":
        module = user_file(path)
        if not hasattr(module, "export"):
            raise UsageError(f"{path.name} has no line 'export = ...' that says what it gives")
        return module.export
    try:
        return {**tomllib.loads(path.read_text(encoding="utf-8")), "name": path.stem, "path": str(path.resolve())}
    except OSError:
        raise UsageError(f"there is no file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML file: {error}") from None
