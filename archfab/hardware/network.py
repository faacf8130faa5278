"""The network behind a workload, for devices that run it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    import torch


class Network:
    """A network that can be run: as a torch module, as ONNX, or as both. It is made when it is first asked for."""

    def __init__(self, make: Callable[[], tuple[torch.nn.Module, tuple[Any, ...]]] | None = None,
                 model: onnx.ModelProto | None = None) -> None:
        self._make = make
        self._model = model

    @cached_property
    def _made(self) -> tuple[Any, tuple[Any, ...]]:
        import torch
        assert self._make
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)        # weights that nobody trained are drawn alike every time
            module, inputs = self._make()
        return module.cpu().eval(), inputs

    def module(self) -> torch.nn.Module | None:
        """As a torch module; None where it came as an ONNX file."""
        return self._made[0] if self._make else None

    def inputs(self) -> tuple[torch.Tensor, ...]:
        """Inputs that it takes: those of the task's example, or zeros of the shapes that an ONNX file says."""
        if self._make:
            return tuple(self._made[1])
        from archfab.hardware.onnx_file import zeros
        return zeros(self.onnx())

    def onnx(self) -> onnx.ModelProto:
        """As ONNX, in floating point, for inputs of the example's shapes alone."""
        if self._model is None:
            from archfab.exporting import to_onnx
            self._model = to_onnx(*self._made)
        return self._model
