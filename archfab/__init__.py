"""archfab: from a data set and a target device to the network that fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archfab.core import Budget, UsageError
from archfab.runs import Run
from archfab.search import resume, search
from archfab.space import CHANNELS, Space, choose, describe, maximum, minimum, repeat

if TYPE_CHECKING:
    from archfab import nn

__version__ = "0.1.0"
__all__ = ["CHANNELS", "Budget", "Run", "Space", "UsageError", "choose", "describe", "maximum", "minimum", "nn",
           "repeat", "resume", "search"]


def __getattr__(name: str) -> Any:
    if name != "nn":
        raise AttributeError(f"module 'archfab' has no attribute '{name}'")
    import importlib
    return importlib.import_module("archfab.nn")        # brings torch: only when it is used
