"""Runs a linked network in QEMU and counts every instruction, operator by operator."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from archfab.core import BuildError
from archfab.hardware.mcu.cache import Cache
from archfab.hardware.mcu.cores import Core
from archfab.hardware.mcu.toolchain import HERE, PREFIX, call, tool

SECONDS = 300


@dataclass(frozen=True)
class Simulation:
    """What came of a run: everything that was printed, and for each operator how often each mnemonic ran."""

    printed: np.ndarray
    histograms: tuple[Counter[str], ...]


def simulate(elf: Path, core: Core, cache: Cache, seconds: float = SECONDS) -> Simulation:
    """Runs `af_network` of a program once.

    :raises BuildError: when it crashes, says nothing, or takes longer than `seconds`.
    """
    counts = elf.with_suffix(".counts")
    mark = symbol(elf, "af_mark")
    text = qemu(elf, core, ["-plugin", f"{plugin(cache)},mark={mark:x},counts={counts}"], seconds)
    return Simulation(values(text), histograms(counts.read_text(), instructions(elf, core), mark))


def qemu(elf: Path, core: Core, options: Sequence[str], seconds: float) -> str:
    """What a program prints on its board."""
    words = [tool("qemu-system-arm"), "-M", core.machine, "-nographic", "-semihosting-config",
             "enable=on,target=native", "-monitor", "none", "-serial", "none", *options, "-kernel", str(elf)]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise BuildError(f"the simulation of the {core.name} took longer than {seconds:g} s and was stopped; "
                         "a larger limit: simulation_seconds in the device file") from None
    text = done.stdout + done.stderr
    if "DONE\n" not in text:
        raise BuildError(f"the simulated {core.name} did not finish (exit code {done.returncode}): "
                         f"{' '.join(text.split())[-400:] or 'it printed nothing'}")
    return text


def values(text: str) -> np.ndarray:
    """The printed bytes, in order."""
    return np.frombuffer(bytes.fromhex("".join(re.findall(r"^(?:[0-9a-f]{2})+$", text, re.MULTILINE))), np.int8)


@functools.cache
def compiler() -> str:
    """The host's C compiler, which builds the counter."""
    return tool(next((name for name in (os.environ.get("CC", "cc"), "gcc", "clang") if shutil.which(name)), "gcc"),
                "apt install gcc")


def plugin(cache: Cache) -> Path:
    """The counter as a library for QEMU, built at its first use."""
    source = HERE / "runtime/counter.c"

    def make(folder: Path) -> None:
        call([compiler(), "-O2", "-shared", "-fPIC", source, "-o", folder / "counter.so"], "compiling the counter")
    return cache.folder(f"counter-{counter_digest()}", make) / "counter.so"


def counter_digest() -> str:
    """A name for the way in which instructions are counted, and for the host whose library counts them."""
    parts = (platform.machine().encode(), (HERE / "runtime/counter.c").read_bytes(), Path(__file__).read_bytes())
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]


def symbol(elf: Path, name: str) -> int:
    """The address of a function."""
    text = call([tool(PREFIX + "nm"), elf], "reading the symbols")
    found = re.search(rf"^([0-9a-f]+) \w {name}$", text, re.MULTILINE)
    assert found, name
    return int(found[1], 16) & ~1


LINE = re.compile(r"^ *([0-9a-f]+):\t[0-9a-f ]+\t(\S+)[ \t]*(.*)$", re.MULTILINE)


def instructions(elf: Path, core: Core) -> dict[int, tuple[str, str]]:
    """The mnemonic and operands at every address."""
    vectors = ["-m", "armv8.1-m.main"] if core.kernels == "mve" else []       # the disassembler does not see it itself
    text = call([tool(PREFIX + "objdump"), "-d", *vectors, elf], "disassembling the network")
    return {int(address, 16): (mnemonic, operands) for address, mnemonic, operands in LINE.findall(text)}


def histograms(counts: str, code: dict[int, tuple[str, str]], mark: int) -> tuple[Counter[str], ...]:
    """How often each mnemonic ran between one mark and the next; marks and their calls are no part of the network.

    :raises BuildError: where code ran that the disassembler did not see, so that the count would be wrong.
    """
    order = sorted(code)
    index = {address: i for i, address in enumerate(order)}
    found: list[Counter[str]] = []
    for line in counts.splitlines():
        number, start, length, times = line.split()
        while len(found) <= int(number):
            found.append(Counter())
        if int(number) == 0:        # what runs before the first mark is the start of the board
            continue
        first = index.get(int(start, 16))
        if first is None:
            raise BuildError(f"code ran at 0x{start}, where the disassembler saw none, so it cannot be counted")
        for address in order[first:first + int(length)]:
            mnemonic, operands = code[address]
            if address != mark and "af_mark" not in operands:
                found[int(number)][mnemonic] += int(times)
    return tuple(found[1:])
