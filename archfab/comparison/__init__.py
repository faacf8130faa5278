"""Strategies against each other on benchmark tables: runs in memory, curves, statistics, a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archfab.comparison.study import compare

__all__ = ["compare"]


def __getattr__(name: str) -> Any:      # imported when it is used, so that the command line starts at once
    if name == "compare":
        from archfab.comparison.study import compare
        return compare
    raise AttributeError(f"module {__name__} has no attribute {name}")
