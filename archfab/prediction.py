"""What delivered networks say of new data: from bundles and a data file to tables and pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archfab import registry
from archfab.core import UsageError
from archfab.deliver import load_model, read_bundle


def predict(bundles: Sequence[Path | str], data: str, out: Path | str | None = None,
            options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Asks the networks of bundles, an ensemble where there are several, and writes what they say into a new folder.

    :param out: a folder that does not exist yet or is empty; predictions-1, predictions-2, ... without it.
    :param options: of the task's `predict`.
    :returns: the folder, and its files with what each shows.
    """
    read = [read_bundle(bundle) for bundle in bundles]
    if not read:
        raise UsageError("name at least one bundle: archfab predict RUN/bundles/ID --data FILE")
    task = registry.load("tasks", read[0]["spec"]["task"])
    for bundle, said in zip(bundles[1:], read[1:], strict=True):
        for key in ("task", "preprocessing"):
            ours, theirs = (found["spec"][key] if key == "task" else found[key] for found in (read[0], said))
            if ours != theirs:
                raise UsageError(f"{bundle} and {bundles[0]} differ in their {key}, so they are no ensemble: take "
                                 "networks of runs on the same task and data")
    if not os.path.exists(data):
        raise UsageError(f"there is no data at {data}")
    folder = free_folder(out)
    models = [load_model(bundle) for bundle in bundles]
    exhibits = list(task.predict(models, read[0]["preprocessing"], data, **chosen(task, options or {})))
    folder.mkdir(parents=True, exist_ok=True)
    for each in exhibits:
        (folder / each.file).write_bytes(each.content)
    return {"bundles": [str(bundle) for bundle in bundles], "folder": str(folder),
            "files": [{"file": each.file, "about": each.about} for each in exhibits]}


def chosen(task: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a task's `predict`, each turned into its type."""
    known = registry.settings(task.predict)
    for name in options:
        if name not in known:
            legal = ", ".join(f"--{each.replace('_', '-')}" for each in known) or "none"
            raise UsageError(f"predictions of the task {task.name} have no option --{name.replace('_', '-')}; known: "
                             f"{legal}")
    return {name: registry.typed(name, value, known[name]) for name, value in options.items()}


def free_folder(out: Path | str | None) -> Path:
    """A folder to write into that holds nothing yet: nothing that is there is written over."""
    if out is None:
        number = next(i for i in range(1, 10**6) if not Path(f"predictions-{i}").exists())
        out = f"predictions-{number}"
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and not empty; choose another folder (--out DIR)")
    return folder
