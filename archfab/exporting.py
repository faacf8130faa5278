"""Networks as ONNX."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from archfab.core import Port

if TYPE_CHECKING:
    import onnx
    import torch


def to_onnx(model: torch.nn.Module, example: tuple[Any, ...],
            ports: tuple[tuple[Port, ...], tuple[Port, ...]] | None = None) -> onnx.ModelProto:
    """The network as ONNX: for the example's shapes alone, or for any length of the axes that its ports say."""
    import torch
    inputs, outputs = ports or ((), ())
    lengths = {name: torch.export.Dim(name, min=1, max=65536) for port in inputs for name in port.axes.values()}
    shapes = tuple({axis: lengths[name] for axis, name in port.axes.items()} for port in inputs)
    with quiet():
        program = torch.onnx.export(model, example, dynamo=True, input_names=[port.name for port in inputs] or None,
                                    output_names=[port.name for port in outputs] or None,
                                    dynamic_shapes=shapes or None, verbose=False)
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporter's chatter goes nowhere: standard output belongs to the answer."""
    import logging
    import warnings
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx", "torch.export")]
    levels = [logger.level for logger in loggers]
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            sys.stdout.flush()
