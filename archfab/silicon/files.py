"""The files that answers are written into: pictures by the ending of their names, tables, texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from archfab.core import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_picture(path: str | Path | None) -> None:
    """Raises `UsageError` where a picture could not be written there, before anything is computed for it."""
    if path is None:
        return
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise UsageError(f"a picture is a .png or .svg file, not {path}")
    check_folder(path)


def check_folder(path: Path) -> None:
    """Raises `UsageError` where there is no folder for a file."""
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}")


def save(figure: Figure, path: str | Path) -> None:
    """The figure as PNG or SVG, by the ending of the name.

    :raises UsageError: another ending, or a file that cannot be written.
    """
    from archfab.drawing import png, svg
    check_picture(path)
    write(path, png(figure) if Path(path).suffix == ".png" else svg(figure))


def write(path: str | Path, content: bytes | str) -> None:
    """Writes a file.

    :raises UsageError: where that cannot be done.
    """
    try:
        Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
