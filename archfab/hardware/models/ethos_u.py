"""Arm Ethos-U: the network is quantised to int8, written as .tflite, and compiled and estimated by Arm's Vela.

Latency is Vela's own performance model: cycles of the NPU or of the busiest memory, layer by layer. Weights count
only through their compression, so its interval runs from weights that compress best (all alike) to weights that do
not compress (uniform noise). How far the model is from silicon, Arm does not say; versions of Vela differ by more
than some intervals (docs/int8.md). Energy is not given: Vela has none. Operators that Vela leaves to the CPU have
no cycles and are listed as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from archfab.core import BuildError, Cost, Costs, Device, UsageError, identity

if TYPE_CHECKING:
    import numpy as np

    from archfab.hardware.int8.graph import Graph
    from archfab.hardware.int8.vela import Estimate, Target
    from archfab.hardware.workload import Workload

EXTRA = "ethos-u"
TEXTS = ("accelerator", "system_config", "memory_mode")
OPTIONAL = ("optimise", "arena_kb", "config")
ORIGINS = ("measured", "calibrated", "simulated", "analytic")
MEMORIES = {"memory_kb": ("sram_memory_used",), "dram_kb": ("dram_memory_used",),
            "flash_kb": ("on_chip_flash_memory_used", "off_chip_flash_memory_used")}
KINDS = {"conv2d": "conv", "depthwiseconv2d": "depthwise", "fullyconnected": "linear", "matmul": "attention",
         "batchmatmul": "attention", "avgpool": "pool", "maxpool": "pool", "averagepool2d": "pool", "maxpool2d": "pool",
         "reducemax": "pool", "mean": "pool", "reducesum": "pool", "transpose": "move", "concat": "move",
         "concatenation": "move", "pad": "move", "slice": "move", "split": "move", "memorycopy": "move",
         "reshape": "move", "resize": "move"}


class EthosU(Device):
    """An Ethos-U as a configuration of Vela, each part with its source (see `devices/ethos-u55-128.toml`)."""

    slow = True

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self.name = numbers["name"]
        self.about = numbers.get("about", "")
        self.sources = {key: numbers[key] for key in (*TEXTS, *OPTIONAL) if key in numbers}
        self.sources |= {f"capacity.{key}": entry for key, entry in numbers.get("capacity", {}).items()}
        if (there := vela_version()) is not None:
            self.sources["vela"] = {"value": there, "unit": "version", "origin": "simulated",
                                    "source": "the installed package ethos-u-vela: its model makes these figures"}
        if missing := [key for key in TEXTS if key not in numbers]:
            raise UsageError(f"device '{self.name}' needs [{missing[0]}] with a value, an origin and a source")
        for key, entry in self.sources.items():
            if key != "vela":
                self._check(key, entry)
        memories = [key for key in MEMORIES if key in numbers.get("memories", ("memory_kb", "flash_kb"))]
        self.figures = ("latency_ms", *memories, "macs", "params")
        self.capacity = {key: float(entry["value"]) for key, entry in numbers.get("capacity", {}).items()}
        if extra := set(self.capacity) - set(self.figures):
            raise UsageError(f"device '{self.name}': there is no capacity.{min(extra)}; legal: "
                             f"{', '.join(self.figures)}")
        self._texts = {key: entry["value"] for key, entry in self.sources.items()}
        self._bounds: dict[str, tuple[Estimate, ...]] = {}
        self._known: dict[str, Costs] = {}

    def ready(self) -> None:
        from archfab.hardware.int8.vela import version
        version()

    def cost(self, workload: Workload) -> Costs:
        from archfab.hardware.int8.quantise import quantise
        self.ready()
        if workload.network is None:
            raise BuildError(f"device '{self.name}' compiles the network itself, and this workload has none: trace it "
                             "from a genotype, a task or an ONNX file")
        graph = quantise(workload.network.onnx())
        if graph.digest not in self._known:
            self._known[graph.digest] = self._cost(graph, workload)
        return self._known[graph.digest]

    def _cost(self, graph: Graph, workload: Workload) -> Costs:
        found, bounds = self._estimates(graph)
        times = [e.milliseconds for e in (found, *bounds)]
        figures = {"latency_ms": Cost(times[0], "simulated", min(times), max(times))}
        for name, parts in MEMORIES.items():
            if name in self.figures:
                used = [sum(e.number(part) for part in parts) for e in (found, *bounds)]
                figures[name] = Cost(used[0], "simulated", min(used), max(used))
        figures |= {"macs": Cost.counted(workload.macs), "params": Cost.counted(workload.params)}
        rows, cpu = layer_rows(found, graph)
        if all(row["target"] != "npu" for row in rows):
            raise BuildError(f"Vela leaves all of this network to the CPU ({', '.join(cpu) or 'it has no operators'})")
        return Costs(figures, rows, cpu)

    def _estimates(self, graph: Graph) -> tuple[Estimate, tuple[Estimate, ...]]:
        """Of the network, and of the same structure with the weights that compress best and worst; those once."""
        from archfab.hardware.int8.tflite import write
        from archfab.hardware.int8.vela import estimates
        key = structure(graph)
        known = self._bounds.get(key)
        networks = [graph] if known is not None else [graph, refilled(graph, False), refilled(graph, True)]
        found, *bounds = estimates([write(network) for network in networks], self.target())
        self._bounds[key] = known or tuple(bounds)
        return found, self._bounds[key]

    def target(self) -> Target:
        """The device in Vela's words."""
        from archfab.hardware.int8.vela import CONFIG, Target
        arena = self._texts.get("arena_kb")
        return Target(self._texts["accelerator"], self._texts["system_config"], self._texts["memory_mode"],
                      self._texts.get("config", CONFIG), self._texts.get("optimise", "Performance"),
                      None if arena is None else int(arena * 1024))

    def _check(self, key: str, entry: Any) -> None:
        if not isinstance(entry, Mapping) or not {"value", "source", "origin"} <= set(entry):
            raise UsageError(f"device '{self.name}': {key} needs a value, an origin and a source")
        if entry["origin"] not in ORIGINS:
            raise UsageError(f"device '{self.name}': {key} has the origin '{entry['origin']}'; "
                             f"legal: {', '.join(ORIGINS)}")
        number = key == "arena_kb" or key.startswith("capacity.")
        if number and not (isinstance(entry["value"], int | float) and 0 < entry["value"] < float("inf")):
            raise UsageError(f"device '{self.name}': {key} is a number above 0, not {entry['value']!r}")
        if not number and not isinstance(entry["value"], str):
            raise UsageError(f"device '{self.name}': {key} is a name of Vela's, in quotes, not {entry['value']!r}")


def vela_version() -> str | None:
    """The version of Vela, if it is installed."""
    from archfab.hardware.int8.vela import installed, version
    return version() if installed() else None


def structure(graph: Graph) -> str:
    """A name for a network whatever its weights and scales."""
    return identity([[[list(t.shape), t.dtype, t.constant] for t in graph.tensors],
                     [[n.op, list(n.inputs), list(n.outputs), {k: v for k, v in n.options.items() if k != "clamp"}]
                      for n in graph.nodes]])


def refilled(graph: Graph, noise: bool) -> Graph:
    """The same network with weights that are all alike, or uniform noise (seed 0)."""
    import numpy as np
    rng = np.random.default_rng(0)

    def filled(data: np.ndarray) -> np.ndarray:
        return rng.integers(-127, 128, data.shape).astype(np.int8) if noise else np.ones_like(data)

    tensors = [replace(t, data=filled(t.data)) if t.data is not None and t.axis is not None and t.dtype == "int8" else t
               for t in graph.tensors]
    return replace(graph, tensors=tuple(tensors))


def layer_rows(found: Estimate, graph: Graph) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each operator that Vela made; and those that it left to the CPU, which has no cycles here."""
    shapes = {tensor.name: list(tensor.shape) for tensor in graph.tensors}
    pointwise = {graph.tensors[node.outputs[0]].name for node in graph.nodes
                 if node.op == "conv_2d" and graph.tensors[node.inputs[1]].shape[1:3] == (1, 1)}
    clock = found.number("core_clock")
    rows, cpu = [], []
    for layer in found.layers:
        operator, name = layer["Original Operator"], layer["Name"].strip()
        target = layer["Target"].strip().lower()
        cycles, macs = float(layer["Op Cycles"]), int(float(layer["MAC Count"]))
        rows.append({"operator": operator.lower(), "kind": "pointwise" if name in pointwise else
                     kind_of(operator, layer["NNG Operator"]), "detail": name,
                     "shape": shapes.get(name, []), "macs": macs, "bytes": None, "target": target, "cycles": cycles,
                     "utilisation": float(layer["Util% (MAC)"]) / 100 if macs else 0.0,
                     "latency_ms": cycles / clock * 1e3, "energy_mj": None})
        if target != "npu":
            cpu.append(operator.lower())
    share = f" ({len(cpu)} of {len(rows)} operators run on the CPU, whose time is not counted)"
    return rows, [name + share for name in sorted(set(cpu))]


def kind_of(original: str, made: str) -> str:
    return KINDS.get(original.lower()) or KINDS.get(made.lower()) or "elementwise"


export = EthosU
