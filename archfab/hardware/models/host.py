"""A machine that is measured: this one through onnxruntime or torch, or a board that has Python over ssh."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from archfab.core import BuildError, Cost, Costs, Device, UsageError, unknown
from archfab.hardware.measuring.board import LEVELS, rapl
from archfab.hardware.measuring.operators import added_up, described
from archfab.hardware.measuring.remote import Place, Sample, ask, one_at_a_time
from archfab.hardware.measuring.timing import Settings

if TYPE_CHECKING:
    from archfab.hardware.workload import Workload

OURS = ("name", "about", "model", "path")         # what every device's file has or is given
_known: dict[str, dict[str, Any]] = {}      # what this process has measured; never on disk, for machines change


@dataclass(frozen=True)
class Options:
    """What a device file may set of a measurement, beside the times in `timing.Settings`."""

    runtime: str = "onnxruntime"        # or torch, on this machine alone
    threads: int = 1
    cores: tuple[int, ...] = ()         # that the process is kept on; as many as there are threads where none is named
    optimisation: str = "all"           # of the graph by onnxruntime
    profile: int = 20                   # runs under the profiler
    between: float = 0.02               # by which medians differ from process to process (benchmarks/host.py)
    layout: str = "nchw"                # of pictures in torch: nchw, or nhwc
    ssh: str = ""                       # USER@HOST of a board
    python: str = "python3"             # the board's
    ssh_options: tuple[str, ...] = ()
    patience: float = 60.0              # seconds without a sign of life after which a board is given up


class Host(Device):
    """Runs a network and says what it took; a number is a measurement with its interval, or it is left out."""

    figures: tuple[str, ...] = ("latency_ms", "memory_kb", "macs", "params")
    slow = True

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self.name, self.about = numbers["name"], numbers.get("about", "")
        given = {key: value for key, value in numbers.items() if key not in OURS}
        legal = [each.name for each in (*fields(Options), *fields(Settings))]
        for key in given:
            if key not in legal:
                raise unknown(f"setting of the device '{self.name}'", key, legal)
        self.options = Options(**{each.name: self._typed(each.name, given[each.name], each.default)
                                  for each in fields(Options) if each.name in given})
        self.settings = Settings(**{each.name: self._typed(each.name, given[each.name], each.default)
                                    for each in fields(Settings) if each.name in given})
        self._check()
        if self.options.runtime == "torch":
            self.figures = ("latency_ms", "macs", "params")
        elif not self.options.ssh and rapl("/sys/class/powercap"):
            self.figures = (*Host.figures, "energy_mj")
        self.sources = {"latency_ms": {
            "value": None, "unit": "ms", "origin": "measured",
            "source": f"{self.options.runtime} on {self.place.name}, threads: {self.options.threads}, the median of "
                      f"runs over {self.settings.seconds:g} s in {self.settings.blocks} blocks"}}

    @property
    def place(self) -> Place:
        options = self.options
        return Place(options.ssh, options.python, options.ssh_options, options.patience)

    def cost(self, workload: Workload) -> Costs:
        network = workload.network
        if network is None:
            raise BuildError(f"the device '{self.name}' runs networks, and of this one only the operators are known")
        by_torch = self.options.runtime == "torch"
        found = self._by_torch(workload, network) if by_torch else self._by_onnxruntime(network)
        timing = found["timing"]
        if timing["refused"]:
            raise BuildError(f"{self.place.name} does not hold still: {timing['note']}, and a run took between "
                             f"{1e3 * timing['low']:.4g} and {1e3 * timing['high']:.4g} ms; end other work there, or "
                             f"accept an interval wider than {1 + self.settings.refuse:g} to 1: refuse = NUMBER in "
                             "the device's file")
        latency = milli(timing, self.options.between)
        figures = {"latency_ms": latency, **self._memory(found), **energy(timing, self.options.between),
                   "macs": Cost.counted(workload.macs), "params": Cost.counted(workload.params)}
        return Costs(figures, added_up(found["operators"], latency.value), notes=self._notes(found))

    def _by_onnxruntime(self, network: Any) -> dict[str, Any]:
        from torch.utils import _pytree as pytree
        inputs = tuple(x.detach().cpu().contiguous().numpy() for x in pytree.tree_leaves(network.inputs()))
        found = self.found([Sample(network.onnx().SerializeToString(), inputs)])[0]
        if "error" in found:
            raise BuildError(f"onnxruntime on {self.place.name} cannot run this network: {found['error']}")
        return found

    def _by_torch(self, workload: Workload, network: Any) -> dict[str, Any]:
        from archfab.hardware.measuring.torch_timing import time_module
        key = f"{self.options} {self.settings} {workload.ops} {workload.buffers}"       # times do not hang on weights
        if key in _known:
            return _known[key]
        if (module := network.module()) is None:
            raise BuildError(f"the device '{self.name}' runs torch, and this network is an ONNX file alone; take the "
                             "device 'host'")
        with one_at_a_time(self.place):
            found = time_module(module, network.inputs(), self.settings, self.options.threads, self.options.layout,
                                self.options.cores)
        if not found["timing"]["refused"]:
            _known[key] = found
        return found

    def found(self, samples: Sequence[Sample], bound: bool = False) -> list[dict[str, Any]]:
        """What `board.examine` finds of networks, or `{"error": ...}`; known ones from before, but for those whose
        measurement is to be refused.

        :param bound: whether inputs and outputs stay where they are, so that the kernels alone are timed.
        :raises UsageError: where the place cannot be used. :raises BuildError: where it stops answering.
        """
        options = self.options
        request = {"settings": asdict(self.settings), "threads": options.threads, "cores": list(options.cores),
                   "optimisation": options.optimisation, "profile": options.profile, "bound": bound}
        keys = [f"{self.place} {request} {sample.key()}" for sample in samples]
        new = {key: sample for key, sample in zip(keys, samples, strict=True) if key not in _known}
        fresh: dict[str, dict[str, Any]] = {}
        if new:
            machine, found = ask(self.place, request, list(new.values()))
            for key, each in zip(new, found, strict=True):
                operators = [described(row) for row in each.get("operators", ())]
                fresh[key] = {**each, "operators": operators, "machine": machine}
        _known.update({key: each for key, each in fresh.items() if not each.get("timing", {}).get("refused")})
        return [fresh.get(key) or _known[key] for key in keys]

    def _memory(self, found: Mapping[str, Any]) -> dict[str, Cost]:
        """Activations: the most that onnxruntime's arena held in a run beyond what it held before, and the inputs."""
        if "arena" not in found:
            return {}
        memory = found["arena"] / 1024
        return {"memory_kb": Cost(memory, "measured", memory, memory)}

    def _notes(self, found: Mapping[str, Any]) -> dict[str, Any]:
        timing = found["timing"]
        notes = {"machine": found["machine"], "steady": timing["steady"], "samples": timing["samples"],
                 "set_aside": timing["set_aside"], "measured_again": timing["measured_again"]}
        return {**notes, "disturbed": timing["note"]} if timing["note"] else notes

    def _typed(self, key: str, value: Any, default: Any) -> Any:
        if isinstance(default, tuple):
            if isinstance(value, list) and all(isinstance(each, int if key == "cores" else str) for each in value):
                return tuple(value)
            raise UsageError(f"device '{self.name}': {key} is a list, such as "
                             + ("[2, 3]" if key == "cores" else '["-p", "2222"]') + f", not {value!r}")
        wanted = (int, float) if isinstance(default, float) else (type(default),)
        if not isinstance(value, wanted) or isinstance(value, bool):
            words = {"float": "a number", "int": "a whole number", "str": "a text"}[type(default).__name__]
            raise UsageError(f"device '{self.name}': {key} is {words}, not {value!r}")
        return value

    def _check(self) -> None:
        options, settings = self.options, self.settings
        for key, value, legal in (("runtime", options.runtime, ("onnxruntime", "torch")),
                                  ("layout", options.layout, ("nchw", "nhwc")),
                                  ("optimisation", options.optimisation, tuple(LEVELS))):
            if value not in legal:
                raise unknown(f"{key} of the device '{self.name}'", value, legal)
        least = {"threads": options.threads, "blocks": settings.blocks, "profile": options.profile}
        if low := [key for key, value in least.items() if value < 1]:
            raise UsageError(f"device '{self.name}': {low[0]} is a whole number from 1 up, not {least[low[0]]}")
        above = {"seconds": settings.seconds, "patience": options.patience, "drift": settings.drift,
                 "busy": settings.busy, "refuse": settings.refuse}
        if low := [key for key, value in above.items() if not 0 < value < math.inf]:
            raise UsageError(f"device '{self.name}': {low[0]} is a number above 0, not {above[low[0]]}")
        if not all(0 <= value < math.inf for value in (settings.warmup, settings.again, options.between)):
            raise UsageError(f"device '{self.name}': warmup, again and between are numbers from 0 up")
        if any(core < 0 or isinstance(core, bool) for core in options.cores):
            raise UsageError(f"device '{self.name}': cores are whole numbers from 0 up, not {list(options.cores)}")
        defaults, other = Options(), ("layout",) if options.runtime == "onnxruntime" else ("optimisation", "profile")
        if stray := [key for key in other if getattr(options, key) != getattr(defaults, key)]:
            raise UsageError(f"device '{self.name}': {options.runtime} has no setting {stray[0]}; leave it out, or set "
                             "the other runtime")
        if stray := [key for key in ("python", "ssh_options") if not options.ssh
                     and getattr(options, key) != getattr(defaults, key)]:
            raise UsageError(f"device '{self.name}': {stray[0]} is of a board; name that too: ssh = \"USER@HOST\"")
        if not options.python.strip():
            raise UsageError(f"device '{self.name}': python is the name of a program on the board")
        if options.ssh.startswith("-") or any(each.isspace() for each in options.ssh):
            raise UsageError(f"device '{self.name}': ssh is USER@HOST, not {options.ssh!r}")
        if options.ssh and options.runtime == "torch":
            raise UsageError(f"device '{self.name}': a board is measured by onnxruntime, not by torch")


def milli(found: Mapping[str, float], between: float) -> Cost:
    """A median of seconds or joules in thousandths, its interval wider by what differs from process to process."""
    return Cost(1e3 * found["median"], "measured", 1e3 * found["low"] / (1 + between),
                1e3 * found["high"] * (1 + between))


def energy(timing: Mapping[str, Any], between: float) -> dict[str, Cost]:
    """Of the whole processor package while the network ran, its idle power included; nothing where none is counted."""
    return {"energy_mj": milli(timing["joules"], between)} if "joules" in timing else {}


export = Host
