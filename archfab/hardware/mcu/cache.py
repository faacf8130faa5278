"""What was compiled or simulated once is kept on disk, up to a size; the least used goes first."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT = 64 << 20                # bytes
ENTRIES = 20_000
FOLDERS = 40                    # kernels of five cores, and those of earlier versions


class Cache:
    """A folder of entries; one that cannot be written is replaced by a temporary one of this user's."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError:
            self.root = Path(tempfile.gettempdir()) / f"archfab-mcu-cache-{os.getuid()}"
            self.root.mkdir(mode=0o700, exist_ok=True)
            if self.root.stat().st_uid != os.getuid():
                raise

    def folder(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of this name; `make` fills it where there is none yet. It appears whole or not at all."""
        path = self.root / name
        if not path.is_dir():
            draft = Path(tempfile.mkdtemp(prefix="draft-", dir=self.root))
            try:
                make(draft)
                with contextlib.suppress(OSError):      # another process was faster
                    os.rename(draft, path)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            self.trim()
        else:
            with contextlib.suppress(OSError):
                os.utime(path)
        return path

    def read(self, name: str) -> Any:
        """An entry's plain data; None where there is none, or it is damaged."""
        path = self.root / f"{name}.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            os.utime(path)
            return data
        except (OSError, ValueError):
            return None

    def write(self, name: str, data: Any) -> None:
        """Keeps plain data under a name; a full disk loses nothing but the saving."""
        with contextlib.suppress(OSError):
            handle, draft = tempfile.mkstemp(prefix="draft-", dir=self.root)
            try:
                with open(handle, "w", encoding="utf-8") as file:
                    json.dump(data, file)
                os.replace(draft, self.root / f"{name}.json")
            finally:
                Path(draft).unlink(missing_ok=True)
            self.trim()

    def trim(self) -> None:
        """Removes the entries that were used longest ago until the rest keeps the limits."""
        entries = []
        for path in self.root.glob("*.json"):
            with contextlib.suppress(OSError):
                entries.append((path.stat().st_mtime, path.stat().st_size, path))
        entries.sort(reverse=True)
        folders = sorted((path for path in self.root.iterdir() if path.is_dir()), key=modified, reverse=True)
        for folder in folders[FOLDERS:]:
            shutil.rmtree(folder, ignore_errors=True)
        total = 0
        for number, (_, size, path) in enumerate(entries):
            total += size
            if total > LIMIT or number >= ENTRIES:
                path.unlink(missing_ok=True)


def modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:             # another process removed it
        return 0.0


def default() -> Path:
    """The user's folder for such things: ARCHFAB_CACHE, XDG_CACHE_HOME, or .cache in the home folder."""
    if named := os.environ.get("ARCHFAB_CACHE"):
        return Path(named) / "mcu"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "archfab" / "mcu"
