"""Compiles an integer network with Arm's Vela and reads what Vela estimates for it.

Vela (the package ethos-u-vela, Apache-2.0) runs as a process of its own in a folder of its own, and leaves nothing.
"""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from archfab.core import BuildError, UsageError

SECONDS = 600
CONFIG = "Arm/vela.ini"             # Vela's own file of system configurations and memory modes
MISSING = "the cost model 'ethos_u' runs Arm's Vela, which is not installed: pip install 'archfab[ethos-u]'"


@dataclass(frozen=True)
class Target:
    """For what Vela compiles, in its own words."""

    accelerator: str                # such as ethos-u55-128
    system: str                     # a System_Config of the .ini file
    memory: str                     # a Memory_Mode of the .ini file
    config: str = CONFIG
    optimise: str = "Performance"
    arena_bytes: int | None = None  # the most SRAM for activations, where it is less than the memory mode's


@dataclass(frozen=True)
class Estimate:
    """What Vela says: figures of its summary, and a row for each operator."""

    summary: Mapping[str, str]
    layers: tuple[Mapping[str, str], ...]

    def number(self, key: str) -> float:
        return float(self.summary[key])

    @property
    def cycles(self) -> float:
        return self.number("cycles_total")

    @property
    def milliseconds(self) -> float:
        return self.number("cycles_total") / self.number("core_clock") * 1e3


def installed() -> bool:
    return importlib.util.find_spec("ethosu") is not None


def version() -> str:
    """The version of Vela.

    :raises UsageError: where it is not installed, with the command that installs it.
    """
    if not installed():
        raise UsageError(MISSING)
    try:
        return importlib.metadata.version("ethos-u-vela")
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(MISSING) from None


def estimates(networks: Sequence[bytes], target: Target) -> list[Estimate]:
    """Vela's estimates for .tflite files, all in one process.

    :raises UsageError: where Vela is missing or does not know the target. :raises BuildError: where it cannot compile.
    """
    version()
    with tempfile.TemporaryDirectory(prefix="archfab-vela-") as name:
        folder = Path(name)
        words = ["--accelerator-config", target.accelerator, "--system-config", target.system, "--memory-mode",
                 target.memory, "--config", target.config, "--optimise", target.optimise, "--output-dir", name,
                 "--verbose-performance"]
        if target.arena_bytes is not None:
            words += ["--arena-cache-size", str(target.arena_bytes)]
        files = []
        for i, network in enumerate(networks):
            files.append(str(folder / f"network{i}.tflite"))
            Path(files[-1]).write_bytes(network)
        said = run([*words, "--", *files], folder)
        return [result(folder, i, said) for i in range(len(networks))]


def result(folder: Path, i: int, said: str) -> Estimate:
    """What Vela wrote of one network."""
    found, layers = sorted(folder.glob(f"network{i}_summary_*.csv")), folder / f"network{i}_per-layer.csv"
    if not found or not layers.exists():
        raise BuildError(f"Vela gave no estimate: {last_line(said)}")
    return Estimate(rows(found[0])[0], tuple(rows(layers)))


PROGRAM = """
import sys
from ethosu.vela.vela import main
place = sys.argv.index("--")
for file in sys.argv[place + 1:]:
    if main([*sys.argv[1:place], file]):
        sys.exit(1)
"""


def run(words: list[str], folder: Path) -> str:
    """What Vela says; an error where it fails."""
    try:
        done = subprocess.run([sys.executable, "-c", PROGRAM, *words], cwd=folder, capture_output=True, text=True,
                              timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise BuildError(f"Vela did not finish in {SECONDS} s") from None
    said = done.stdout + done.stderr
    if done.returncode:
        what = last_line(said).replace(str(folder) + "/", "")
        if any(word in what for word in ("CLI option", "argument --", "configuration file")):
            raise UsageError(f"Vela does not take this device: {what}")
        raise BuildError(f"Vela cannot compile this network: {what}")
    return said


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def last_line(text: str) -> str:
    """The line that says what went wrong: the last one that names an error, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if "rror" in line]
    return ((named or lines or ["no word"])[-1])[:300]
