"""archfab: from a data set and a target device to the network that fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archfab.core import Budget, UsageError
from archfab.runs import Run
from archfab.search import resume, search
from archfab.space import CHANNELS, Space, choose, describe, maximum, minimum, repeat

if TYPE_CHECKING:
    from archfab import nn
    from archfab.deliver import load_model
    from archfab.potential import calculator
    from archfab.prediction import predict

__version__ = "0.1.0"
LAZY = {"calculator": "archfab.potential", "load_model": "archfab.deliver", "nn": "archfab.nn",
        "predict": "archfab.prediction"}
"""What brings torch, and so is imported only when it is used."""

__all__ = ["CHANNELS", "Budget", "Run", "Space", "UsageError", "calculator", "choose", "describe", "load_model",
           "maximum", "minimum", "nn", "predict", "repeat", "resume", "search"]


def __getattr__(name: str) -> Any:
    import importlib
    if name not in LAZY:
        raise AttributeError(f"module 'archfab' has no attribute '{name}'")
    found = importlib.import_module(LAZY[name])
    return found if name == "nn" else getattr(found, name)
