"""Memory layouts of a network on this machine: pictures channel by channel (NCHW) or pixel by pixel (NHWC, channels
last), what each layout takes end to end, and the transposes and copies that hide in a graph, with their price."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from archfab.hardware.measuring import board
from archfab.hardware.measuring.operators import described
from archfab.hardware.measuring.timing import Clock, Settings, interval, warm_up
from archfab.hardware.measuring.transposes import count, without_transposes

if TYPE_CHECKING:
    import onnx
    import torch

    from archfab.hardware.network import Network

ROUNDS = 11             # in which both are timed in turn; the ranks 2 and 10 of 11 hold the median with 98.8 %
GAIN = 0.97             # a ratio whose whole interval lies below this is worth a change
HIDDEN_ONNX = {"Transpose", "ReorderInput", "ReorderOutput"}
BLOCK = 0.01            # seconds of one round


@dataclass(frozen=True)
class Ratio:
    """How long the second of two takes as a share of the first, timed in turn."""

    value: float
    low: float
    high: float
    first_ms: float
    second_ms: float

    @property
    def second_is_better(self) -> bool:
        return self.high < GAIN


def compare(first: Callable[[], Any], second: Callable[[], Any], threads: int = 1, clock: Any = Clock,
            block: float = BLOCK) -> Ratio:
    """Times two in turn, so that whatever slows the machine slows both. With one thread it is the time that the process
    had the processor; with several, that on the wall."""
    now = clock.process if threads == 1 else clock.wall
    settings = Settings(warmup=20 * block)
    runs = [max(1, round(block / max(1e-7, warm_up(run, settings, clock, lambda: None)[0]))) for run in (first, second)]

    def timed(run: Callable[[], Any], times: int) -> float:
        start = now()
        for _ in range(times):
            run()
        return max(1e-9, (now() - start) / times)

    pairs = []
    for turn in range(ROUNDS):
        if turn % 2:
            after = timed(second, runs[1])
            pairs.append((timed(first, runs[0]), after))
        else:
            before = timed(first, runs[0])
            pairs.append((before, timed(second, runs[1])))
    ratios = sorted(two / one for one, two in pairs)
    low, high = interval(ratios)
    return Ratio(statistics.median(ratios), low, high, 1e3 * statistics.median(one for one, _ in pairs),
                 1e3 * statistics.median(two for _, two in pairs))


def layouts(network: Network, threads: int = 1) -> dict[str, Any]:
    """What each layout takes, what hides in the graphs, and which is better, as plain data.

    `torch`: NHWC against NCHW, where the network is a torch module with pictures in it. `onnxruntime`: its blocked
    layout against plain NCHW, the reordering that it inserts, and the graph without the transposes that it does not
    need against the graph as it is. `hidden`: each transpose, reordering or copy with its bytes and milliseconds.
    """
    model, module = network.onnx(), network.module()
    feed = feed_of(model, network)
    found: dict[str, Any] = {"threads": threads, "torch": None, "hidden": [],
                             "no_torch": "it is no torch module" if module is None else ""}
    if module is not None:
        found["no_torch"] = "" if has_pictures(module) else "nothing in it has four axes, so there is one layout alone"
        found["torch"] = torch_layouts(module, network.inputs(), threads)
        both = found["torch"] and "failed" not in found["torch"]
        found["hidden"] += hidden_in_torch(module, network.inputs(), ("nchw", "nhwc") if both else ("nchw",), threads)
    found["onnxruntime"] = onnx_layouts(model, feed, threads)
    found["hidden"] += hidden_in_onnx(model, feed, threads)
    return found


def feed_of(model: onnx.ModelProto, network: Network) -> dict[str, Any]:
    from torch.utils import _pytree as pytree
    constants = {each.name for each in model.graph.initializer}
    names = [each.name for each in model.graph.input if each.name not in constants]
    tensors = [x.detach().cpu().contiguous().numpy() for x in pytree.tree_leaves(network.inputs())]
    return dict(zip(names, tensors, strict=True))


# --- torch

def has_pictures(module: torch.nn.Module) -> bool:
    """Whether there are weights of four axes: others have one layout alone."""
    return any(parameter.dim() == 4 for parameter in module.parameters())


def torch_layouts(module: torch.nn.Module, inputs: tuple[Any, ...], threads: int = 1) -> dict[str, Any] | None:
    """NHWC against NCHW in torch, end to end: inputs come as NCHW in both. None where nothing has four axes; a network
    that does not run in NHWC says why in `failed`."""
    import copy

    from archfab.hardware.measuring.torch_timing import at_work, laid_out
    if not has_pictures(module):
        return None
    with laid_out(module, inputs, "nchw") as (plain, x), laid_out(copy.deepcopy(module), (), "nhwc") as (last, _), \
            at_work(threads):
        try:
            last(*x)
        except RuntimeError as error:       # a `view` that only one order allows
            return {"better": "nchw", "failed": " ".join(str(error).split())[:200]}
        ratio = compare(lambda: plain(*x), lambda: last(*x), threads)
    return {"nchw_ms": ratio.first_ms, "nhwc_ms": ratio.second_ms, "ratio": asdict(ratio), "origin": "measured",
            "better": "nhwc" if ratio.second_is_better else "nchw"}


def hidden_in_torch(module: torch.nn.Module, inputs: tuple[Any, ...], in_layouts: tuple[str, ...] = ("nchw",),
                    threads: int = 1) -> list[dict[str, Any]]:
    """Copies that torch makes of activations to have them in another order, in each layout."""
    from archfab.hardware.measuring.torch_timing import at_work, hidden_copies, laid_out
    found = []
    for layout in in_layouts:
        with at_work(threads), laid_out(module, inputs, layout) as (model, x):
            found += [{"where": f"torch {layout}", **priced(row)} for row in hidden_copies(model, x)]
    return found


# --- ONNX

def onnx_layouts(model: onnx.ModelProto, feed: Mapping[str, Any], threads: int = 1) -> dict[str, Any]:
    """Blocked against plain NCHW in onnxruntime, what it inserts for that, and transposes that can go."""
    plain, blocked = (runner(model, feed, threads, level) for level in ("extended", "all"))
    ratio = compare(plain, blocked, threads)
    kinds = Counter(node.op_type for node in optimised(model, threads).graph.node)
    lean, saved = without_transposes(model)
    found: dict[str, Any] = {
        "nchw_ms": ratio.first_ms, "blocked_ms": ratio.second_ms, "ratio": asdict(ratio), "origin": "measured",
        "better": "blocked" if ratio.second_is_better else "nchw",
        "inserted": {kind: kinds[kind] for kind in sorted(HIDDEN_ONNX)},
        "transposes": {"exported": count(model), "avoidable": saved}}
    if saved:
        found["transposes"].update(rewriting(model, lean, feed, threads))
    return found


def rewriting(model: onnx.ModelProto, lean: onnx.ModelProto, feed: Mapping[str, Any],
              threads: int = 1) -> dict[str, Any]:
    """A graph with fewer transposes beside the graph as it was: whether it gives the same, to the last bit, and how
    long it takes."""
    ratio = compare(runner(model, feed, threads), runner(lean, feed, threads), threads)
    return {"equal": alike(model, lean, feed), "ratio": asdict(ratio)}


def alike(model: onnx.ModelProto, lean: onnx.ModelProto, feed: Mapping[str, Any]) -> bool:
    """Whether two graphs give the same, to the last bit."""
    import numpy as np
    return all(np.array_equal(one, two, equal_nan=True)
               for one, two in zip(runner(model, feed)(), runner(lean, feed)(), strict=True))


def runner(model: onnx.ModelProto, feed: Mapping[str, Any], threads: int = 1,
           level: str = "all") -> Callable[[], list[Any]]:
    session = board.open_session(model.SerializeToString(), {"threads": threads, "optimisation": level})
    names = [output.name for output in session.get_outputs()]
    return lambda: session.run(names, feed)


def optimised(model: onnx.ModelProto, threads: int = 1) -> onnx.ModelProto:
    """The graph as onnxruntime runs it here, with what it fused and inserted."""
    import onnx
    import onnxruntime
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        options.optimized_model_filepath = os.path.join(folder, "optimised.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def hidden_in_onnx(model: onnx.ModelProto, feed: Mapping[str, Any], threads: int = 1) -> list[dict[str, Any]]:
    """Transposes and reordering as onnxruntime runs them, with what they took under its profiler."""
    request = {"threads": threads, "optimisation": "all", "profile": 20}
    outputs = [output.name for output in model.graph.output]
    events = board.profiled(model.SerializeToString(), feed, outputs, request)
    rows = [described(row) for row in board.per_operator(events)]
    return [{"where": "onnxruntime", **priced(row)} for row in rows if row["operator"] in HIDDEN_ONNX]


def priced(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"operator": row["operator"], "name": row["name"], "shape": row["shape"], "bytes": row["bytes"],
            "latency_ms": row["milliseconds"], "origin": "measured"}


# --- delivery

def fitting(module: torch.nn.Module, model: onnx.ModelProto, inputs: tuple[Any, ...], threads: int = 1,
            samples: tuple[Any, ...] = ()) -> tuple[dict[str, Any], onnx.ModelProto]:
    """The layout in which a network is delivered, as plain data, and its ONNX graph without the transposes that undo
    each other, so long as it gives the same: that hangs on no clock, so that the same network is the same file.

    :param inputs: which are timed. :param samples: on which graphs are compared; the same where none are given.
    """
    from archfab.hardware.network import Network
    by_torch = torch_layouts(module, inputs, threads)
    chosen: dict[str, Any] = {"torch": by_torch["better"] if by_torch else "nchw", "transposes_removed": 0}
    if by_torch and "ratio" in by_torch:
        chosen["nhwc_to_nchw"] = by_torch["ratio"]
    lean, saved = without_transposes(model)
    if saved and alike(model, lean, feed_of(model, Network(lambda: (module, samples or inputs)))):
        return {**chosen, "transposes_removed": saved}, lean
    return chosen, model


# --- for people

def in_words(found: Mapping[str, Any]) -> list[str]:
    """What `layouts` found, a sentence to a line."""
    lines = []
    torch_ = found["torch"]
    if torch_ and "failed" in torch_:
        lines.append(f"torch: runs in NCHW alone: {torch_['failed']}")
    elif torch_:
        lines.append(f"torch: NCHW {torch_['nchw_ms']:.4g} ms, NHWC {torch_['nhwc_ms']:.4g} ms "
                     f"({spread(torch_['ratio'])}); better: {torch_['better'].upper()}")
    else:
        lines.append(f"torch: not compared, for {found['no_torch']}")
    onnx_ = found["onnxruntime"]
    inserted = ", ".join(f"{number} {kind}" for kind, number in onnx_["inserted"].items() if number) or "none"
    lines.append(f"onnxruntime: NCHW {onnx_['nchw_ms']:.4g} ms, its blocked layout {onnx_['blocked_ms']:.4g} ms "
                 f"({spread(onnx_['ratio'])}); better: {onnx_['better'].upper()}; reordering in the graph that it "
                 f"runs: {inserted}")
    moves = onnx_["transposes"]
    undone = f", of which {moves['avoidable']} undo each other" if moves["exported"] else ""
    lines.append(f"transposes in the exported graph: {moves['exported']}{undone}"
                 + (f"; without them {spread(moves['ratio'])}, outputs {'equal' if moves['equal'] else 'NOT equal'}: "
                    f"delivered {'without' if moves['equal'] else 'with'} them" if "ratio" in moves else ""))
    total = sum(row["latency_ms"] for row in found["hidden"])
    lines.append(f"hidden copies and transposes: {len(found['hidden'])}, {total:.4g} ms")
    return lines


def spread(ratio: Mapping[str, float]) -> str:
    return f"{ratio['value']:.3g} of the time, {ratio['low']:.3g} to {ratio['high']:.3g}"
