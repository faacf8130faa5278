"""What each decision of a space decides: which part, a kernel, a depth, a size, or something else."""

from __future__ import annotations

from typing import Any

from archfab.space import Space
from archfab.space.choices import Arithmetic, Choice, Repeat
from archfab.space.descriptions import Description, parts

KERNELS = ("kernel_size", "padding", "dilation")


def roles(space: Space) -> dict[str, str]:
    """`part`, `kernel`, `depth`, `size` or `other` for each decision, by its name."""
    found: dict[str, set[str]] = {name: set() for name in space.labels}
    walk(space.root, "part", found, set())
    order = ("part", "depth", "kernel", "size")
    return {name: next((role for role in order if role in known), "other") for name, known in found.items()}


def walk(value: Any, role: str, found: dict[str, set[str]], seen: set[tuple[int, str]]) -> None:
    """Notes every decision below a value with the role of the place where it stands."""
    if (id(value), role) in seen:
        return
    seen.add((id(value), role))
    if isinstance(value, Choice):
        is_part = any(isinstance(option, Description | Repeat | list | tuple) for option in value.options.values())
        numeric = all(isinstance(label, int | float) and not isinstance(label, bool) for label in value.options)
        found[value.name].add("part" if is_part else role if role in ("kernel", "depth") else
                              "size" if numeric else "other")
        for option in value.options.values():
            walk(option, role, found, seen)
    elif isinstance(value, Repeat):
        walk(value.count, "depth", found, seen)
        for item in value.items:
            walk(item, "part", found, seen)
    elif isinstance(value, Arithmetic):
        for operand in value.operands:
            walk(operand, role, found, seen)
    elif isinstance(value, Description):
        for name, each in [*enumerate(value.args), *value.kwargs.items()]:
            walk(each, "kernel" if name in KERNELS else "part", found, seen)
    else:
        for each in parts(value):
            walk(each, role, found, seen)
