"""C text: constants, structures, and the calls between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

C_TYPES = {"int8": "int8_t", "int32": "int32_t"}


class Writer:
    """Collects the declarations of a source file; equal constants are written once."""

    def __init__(self) -> None:
        self.declarations: list[str] = []
        self.constants = 0              # bytes of the arrays
        self._names: dict[tuple[str, bytes], str] = {}

    def array(self, values: np.ndarray, about: str = "k", padding: int = 0) -> str:
        """The name of a constant array with these values, and zeros after them that may be read but do not count."""
        values = np.ascontiguousarray(np.pad(np.ravel(values), (0, padding)))
        key = (str(values.dtype), values.tobytes())
        if key not in self._names:
            name = self._names[key] = f"{about}{len(self._names)}"
            self.constants += values.nbytes
            self.declarations.append(f"static const {C_TYPES[str(values.dtype)]} {name}[{values.size}] "
                                     f"__attribute__((aligned(4))) = {numbers(values)};")
        return self._names[key]

    def structure(self, kind: str, name: str, fields: Mapping[str, Any]) -> str:
        """The address of a constant structure."""
        listed = ", ".join(f".{field} = {literal(value)}" for field, value in fields.items())
        self.declarations.append(f"static const {kind} {name} = {{{listed}}};")
        return f"&{name}"


ESCAPES = [f"\\{byte:03o}" for byte in range(256)]


def numbers(values: np.ndarray) -> str:
    """An initialiser: for bytes a string, which compiles many times faster than a list."""
    if values.dtype == np.int8:
        return '"' + "".join(ESCAPES[byte] for byte in np.ravel(values).tobytes()) + '"'
    return "{" + ",".join(map(str, values.tolist())).replace("-2147483648", "(-2147483647-1)") + "}"


def literal(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence | np.ndarray):
        return "{" + ", ".join(map(literal, value)) + "}"
    return str(int(value))
