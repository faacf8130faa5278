"""A torch module timed in this process, in either memory layout, with its operators as torch's profiler tells them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from archfab.core import UsageError
from archfab.hardware.measuring.board import identity, middle, pin
from archfab.hardware.measuring.timing import Settings, measure
from archfab.hardware.workload import VIEWS, detail_of, kind_of, macs_of, tensors

FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
PROFILED = 10       # runs
COPIES = {"clone", "copy", "_to_copy", "contiguous"}
ORDERED = {"conv", "pointwise", "depthwise", "norm", "pool"}
"""Kinds that read their input in the order of one of the two layouts."""


def time_module(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], settings: Settings, threads: int = 1,
                layout: str = "nchw", cores: Sequence[int] = ()) -> dict[str, Any]:
    """The timing of a module at inference (see `timing.summary`), of its operators, and what machine this is."""
    with kept(cores, threads) as used, at_work(threads), laid_out(module, inputs, layout) as (model, x):
        return {"timing": measure(lambda: model(*x), settings, threads), "operators": profile(model, x),
                "machine": {**identity(), "torch": torch.__version__, "cores_used": used, "threads": threads}}


@contextlib.contextmanager
def at_work(threads: int) -> Iterator[None]:
    """This process with so many threads of torch and without gradients."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def kept(cores: Sequence[int], threads: int) -> Iterator[list[int] | None]:
    """This process, with the threads that it has and starts, on some cores or on as many as there are threads.

    :raises UsageError: where there are not these cores, or fewer than threads.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    try:
        used = pin(cores, threads)
    except OSError as error:
        raise UsageError(f"this machine has not the cores that the device's file asks for: {error}") from None
    try:
        spread(used)
        yield used
    finally:
        spread(allowed)


def spread(cores: Iterable[int] | None) -> None:
    """All threads of this process onto some cores: those of torch's pool stay, once they are there."""
    if cores is not None:
        for thread in os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else ["0"]:
            with contextlib.suppress(OSError):      # it ended
                os.sched_setaffinity(int(thread), cores)


@contextlib.contextmanager
def laid_out(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...],
             layout: str) -> Iterator[tuple[torch.nn.Module, tuple[torch.Tensor, ...]]]:
    """A module and its inputs with pictures in a memory layout, as they were afterwards."""
    modes = {part: part.training for part in module.modules()}
    strides = [(tensor, tensor.data) for tensor in (*module.parameters(), *module.buffers())]
    try:
        module.eval().to(memory_format=FORMATS[layout])       # type: ignore[call-overload]
        yield module, tuple(in_layout(x, layout) for x in inputs)
    finally:
        for tensor, data in strides:
            tensor.data = data
        for part, mode in modes.items():
            part.training = mode


def in_layout(x: torch.Tensor, layout: str) -> torch.Tensor:
    return x.contiguous(memory_format=FORMATS[layout]) if x.dim() == 4 else x


def profile(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> list[dict[str, Any]]:
    """Each operator at the aten level, in the order of running, with the milliseconds that it takes in one run."""
    watch = Stopwatch()
    for _ in range(PROFILED):
        watch.step = 0
        with watch:
            model(*inputs)
    return [{**row, "milliseconds": middle(times[1:])} for row, times in watch.found]


def hidden_copies(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> list[dict[str, Any]]:
    """What is copied only to lie in another order: by an operator of its own (`clone` and kin), or inside one that
    takes its input in either layout alone, such as a norm after `permute` (priced by such a copy, made and timed)."""
    watch = Stopwatch(copies=True)
    for _ in range(PROFILED):
        watch.step = 0
        with watch:
            model(*inputs)
    return [{**row, "milliseconds": middle(times[1:])} for row, times in watch.found if row["operator"] in COPIES]


class Stopwatch(TorchDispatchMode):
    """Times every aten operator that runs while it is entered; runs of the same operators gather in `found`.

    :param copies: whether inputs that lie in no order are copied beforehand, as a row of its own.
    """

    def __init__(self, copies: bool = False) -> None:
        super().__init__()
        self.copies = copies
        self.found: list[tuple[dict[str, Any], list[float]]] = []
        self.step = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::").removesuffix("_")
        if self.copies and kind_of(name, args) in ORDERED:
            for x in tensors((args, kwargs)):
                if not in_order(x):
                    self.note("contiguous", torch.ops.aten.clone.default, (x,),
                              {"memory_format": torch.contiguous_format}, f"inside {name}")
        return func(*args, **kwargs) if name in VIEWS else self.note(name, func, args, kwargs)

    def note(self, name: str, func: Any, args: Any, kwargs: Any, words: str = "") -> Any:
        start = time.perf_counter()
        out = func(*args, **kwargs)
        took = 1e3 * (time.perf_counter() - start)
        if self.step == len(self.found):
            self.found.append(({**self.row(name, func, args, kwargs, out), "name": words or name}, []))
        self.found[self.step][1].append(took)
        self.step += 1
        return out

    def row(self, name: str, func: Any, args: Any, kwargs: Any, out: Any) -> dict[str, Any]:
        written = tensors(out)
        return {"operator": name, "kind": kind_of(name, args), "detail": detail_of(name, args),
                "shape": list(written[0].shape) if written else [], "macs": macs_of(func, args, kwargs, out),
                "bytes": sum(x.numel() * x.element_size() for x in (*tensors((args, kwargs)), *written)),
                "bound": "measured", "name": name}


def in_order(x: torch.Tensor) -> bool:
    """Whether a tensor lies in the order of either layout."""
    return x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
