"""The networks of bundles as a calculator of ASE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archfab.core import UsageError


def calculator(*bundles: Path | str, device: str = "cpu", skin: float = 0.5) -> Any:
    """An ASE calculator of one delivered network of the task molecules, or of several as an ensemble.

    Its results are energy, forces, stress and, of an ensemble, how far the networks lie apart: see
    `archfab.tasks.molecules.calculator.Potential`.

    :param bundles: their folders. :param device: where they compute. :param skin: of the neighbour list, in Angstrom.
    :raises UsageError: where a folder is no bundle of this task, or ase is not installed.
    """
    from archfab.deliver import load_model, read_bundle
    from archfab.tasks.molecules.calculator import Potential
    if not bundles:
        raise UsageError("a calculator takes the folder of one bundle or more")
    for folder in bundles:
        task = read_bundle(folder)["spec"]["task"]
        if task != "molecules":
            raise UsageError(f"{folder} is a network of the task '{task}'; a calculator takes networks of molecules")
    return Potential([load_model(folder) for folder in bundles], device, skin)
