"""The cross-compiler: kernels compiled once for each core, networks linked with them, sizes from the linker's map."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from archfab.core import BuildError, UsageError
from archfab.hardware.mcu.cache import Cache
from archfab.hardware.mcu.cores import Core

HERE = Path(__file__).parent
PREFIX = "arm-none-eabi-"
INSTALL = "apt install gcc-arm-none-eabi qemu-system-arm"
FLAGS = ("-mthumb", "-O2", "-std=c11", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-fno-builtin",
         "-fno-tree-loop-distribute-patterns", "-Wall", "-Wextra", "-Werror")
STACK = 2048                    # bytes; the deepest call of a kernel needs a few hundred
COMPILE_SECONDS = 120
FLASH_SECTIONS, RAM_SECTIONS = (".vectors", ".text", ".rodata", ".data"), (".data", ".bss", ".stack")


@dataclass(frozen=True)
class Sizes:
    """Bytes of flash and RAM, as the linker's map says."""

    flash: int
    ram: int


def tool(name: str, install: str = INSTALL) -> str:
    """The path of a program, or an error that says how to install it."""
    if found := shutil.which(name):
        return found
    raise UsageError(f"the cost model 'mcu' needs {name}, which is not installed (Debian, Ubuntu: {install})")


def call(words: Sequence[str | Path], doing: str, folder: Path | None = None) -> str:
    """Runs a compiler; its complaint is the error."""
    try:
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=COMPILE_SECONDS,
                              cwd=folder)
    except subprocess.TimeoutExpired:
        raise BuildError(f"{doing} took longer than {COMPILE_SECONDS} s and was stopped") from None
    if done.returncode:
        raise BuildError(f"{doing} failed: {' '.join(done.stderr.split())[:2000]}")
    return done.stdout


@functools.cache
def version() -> str:
    """The compiler's version, a part of the name of everything that it made."""
    return call([tool(PREFIX + "gcc"), "--version"], "asking the compiler for its version").splitlines()[0]


def digest(core: Core, *parts: str) -> str:
    """A name for what comes of these texts, the kernels, the compiler and how it is called."""
    found = hashlib.sha256(repr((version(), core, FLAGS, STACK, parts)).encode())
    for path in sorted([*HERE.glob("kernels/*"), *HERE.glob("runtime/*"), Path(__file__)]):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:24]


def compiled(core: Core, sources: Sequence[Path], folder: Path) -> None:
    """Compiles C files to object files in a folder."""
    call([tool(PREFIX + "gcc"), *core.flags, *FLAGS, f"-I{HERE / 'kernels'}", "-c", *sources],
         f"compiling for the {core.name}", folder)


def kernels(core: Core, cache: Cache) -> Path:
    """A folder with the kernels' object files for a core."""
    def make(folder: Path) -> None:
        compiled(core, [*sorted(HERE.glob("kernels/*.c")), HERE / "runtime/start.c"], folder)
    return cache.folder(f"kernels-{digest(core)}", make)


def link_script(core: Core) -> str:
    text = (HERE / "runtime/link.ld").read_text(encoding="utf-8")
    values = {"VECTORS": core.vectors, "FLASH": core.flash[0], "FLASH_LENGTH": core.flash[1], "RAM": core.ram[0],
              "RAM_LENGTH": core.ram[1], "OUTSIDE": core.outside[0], "OUTSIDE_LENGTH": core.outside[1], "STACK": STACK}
    return re.sub(r"@(\w+)@", lambda found: f"{values[found[1]]:#x}", text)


def link(source: str, core: Core, folder: Path, cache: Cache) -> Sizes:
    """Compiles a network's source and links it to `network.elf` in the folder.

    :raises BuildError: when it does not even fit into the memories of the simulated board.
    """
    objects = kernels(core, cache)
    (folder / "network.c").write_text(source, encoding="utf-8")
    (folder / "link.ld").write_text(link_script(core), encoding="utf-8")
    compiled(core, [folder / "network.c"], folder)
    try:
        call([tool(PREFIX + "gcc"), *core.flags, "-mthumb", "-nostdlib", "-Wl,--gc-sections", "-T", folder / "link.ld",
              f"-Wl,-Map={folder / 'network.map'}", *sorted(objects.glob("*.o")), folder / "network.o", "-lgcc",
              "-o", folder / "network.elf"], f"linking the network for the {core.name}")
    except BuildError as error:
        if found := re.search(r"region `(\w+)' overflowed by (\d+) bytes", str(error)):
            raise BuildError(f"the network is too big for the simulated board {core.machine}: "
                             f"{found[2]} bytes more than its {found[1]} holds") from None
        raise
    return sizes((folder / "network.map").read_text(encoding="utf-8"))


def sizes(map_text: str) -> Sizes:
    """Flash and RAM from the text of a linker's map."""
    found = {name: int(size, 16) for name, size in
             re.findall(r"^(\.[a-z]+)\s+0x[0-9a-f]+\s+(0x[0-9a-f]+)", map_text, re.MULTILINE)}
    if missing := {".text", ".bss", ".stack"} - set(found):
        raise BuildError(f"the linker's map says no size for {', '.join(sorted(missing))}")
    return Sizes(sum(found.get(name, 0) for name in FLASH_SECTIONS), sum(found.get(name, 0) for name in RAM_SECTIONS))


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """A folder that is gone afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="archfab-mcu-") as folder:
        yield Path(folder)
