"""What runs on the machine that is measured: one ONNX network after the other through onnxruntime, timed and profiled.

Needs Python 3.8, onnxruntime and its numpy. `remote.py` sends this file and `timing.py` as they stand, to a process
of its own on this machine or over ssh; what comes back is one line of JSON for each thing found.
"""

from __future__ import annotations

import glob
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archfab.hardware.measuring.timing import Settings, measure

MARK = "archfab:"           # what our lines begin with: a login may print others
LEVELS = {"none": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED",
          "all": "ORT_ENABLE_ALL"}
TYPES = {"float": "float32", "double": "float64", "float16": "float16", "int64": "int64", "int32": "int32",
         "int8": "int8", "uint8": "uint8", "bool": "bool"}
LONGEST = 2.0               # seconds under the profiler, where more than one run takes longer
SKIPPED = 2                 # first runs under the profiler, which allocate


def main(request: Mapping[str, Any], stream: Any) -> None:
    """Measures the networks that follow in `stream` and says what it finds, line by line."""
    last = [time.monotonic()]

    def alive() -> None:
        if time.monotonic() - last[0] > 1:
            say({"alive": True})
            last[0] = time.monotonic()

    try:
        cores = pin(request.get("cores"), request["threads"])
    except OSError as error:
        say({"fatal": "cores", "because": str(error)})
        return
    try:
        import onnxruntime
    except ImportError as error:
        say({"fatal": "onnxruntime", "because": str(error)})
        return
    say({"machine": {**identity(), "onnxruntime": onnxruntime.__version__, "cores_used": cores,
                     "threads": request["threads"]}})
    for index, entry in enumerate(request["models"]):
        model = stream.read(entry["size"])
        arrays = [stream.read(each["size"]) for each in entry.get("inputs", ())]
        try:
            if len(model) < entry["size"]:
                raise EOFError("the network did not arrive whole")
            found = examine(model, entry.get("inputs"), arrays, request, alive)
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:2000]}
        say({"index": index, **found})


def say(what: Mapping[str, Any]) -> None:
    sys.stdout.write(MARK + json.dumps(what) + "\n")
    sys.stdout.flush()


def pin(cores: Sequence[int] | None, threads: int) -> list[int] | None:
    """Keeps this process, and the threads that it starts from now on, on some cores: those asked for, or as many as
    there are threads. None where the system cannot do that.

    :raises OSError: where there are not these cores, or fewer than threads.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    chosen = list(cores) if cores else allowed[-threads:]
    if not set(chosen) <= set(allowed):
        raise OSError(f"cores {chosen}, of {allowed}")
    if threads > len(chosen):
        raise OSError(f"{threads} threads on the cores {chosen}")
    os.sched_setaffinity(0, chosen)
    return chosen


def examine(model: bytes, inputs: Sequence[Mapping[str, Any]] | None, arrays: Sequence[bytes],
            request: Mapping[str, Any], alive: Callable[[], None]) -> dict[str, Any]:
    """One network: its timing, the median of each operator under the profiler, and the memory that it held."""
    session = open_session(model, request)
    feed = fed(session, inputs, arrays)
    names = [output.name for output in session.get_outputs()]

    def opened() -> Callable[[], Any]:
        session = open_session(model, request)
        return bound(session, feed) if request.get("bound") else lambda: session.run(names, feed)

    timing = measure(opened(), Settings(**request["settings"]), request["threads"],
                     meter=rapl(request.get("powercap", "/sys/class/powercap")), tick=alive, renew=opened)
    found: dict[str, Any] = {"timing": timing}
    if request.get("profile"):
        events = profiled(model, feed, names, request, alive)
        found["operators"] = per_operator(events)
        arena = arena_bytes(events)
        if arena is not None:
            found["arena"] = arena + sum(int(x.nbytes) for x in feed.values())
    return found


def open_session(model: bytes, request: Mapping[str, Any], prefix: str = "") -> Any:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = request["threads"]
    options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[request["optimisation"]])
    options.log_severity_level = 4
    if prefix:
        options.enable_profiling = True
        options.profile_file_prefix = prefix
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def bound(session: Any, feed: Mapping[str, Any]) -> Callable[[], Any]:
    """A run that neither copies its inputs nor makes new outputs: the kernels alone."""
    import numpy as np
    import onnxruntime
    binding = session.io_binding()
    for name, value in feed.items():
        binding.bind_cpu_input(name, value)
    for slot in session.get_outputs():
        kind = TYPES[slot.type[len("tensor("):-1]]
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(slot.shape, np.dtype(kind), "cpu")
        binding.bind_ortvalue_output(slot.name, value)
    return lambda: session.run_with_iobinding(binding)


def fed(session: Any, inputs: Sequence[Mapping[str, Any]] | None, arrays: Sequence[bytes]) -> dict[str, Any]:
    """The inputs that were sent; without any, seeded noise, and zeros where whole numbers are wanted."""
    import numpy as np
    slots = session.get_inputs()
    if inputs:
        return {slots[i].name: np.frombuffer(arrays[i], dtype=inputs[i]["dtype"]).reshape(inputs[i]["shape"])
                for i in range(len(slots))}
    rng, feed = np.random.default_rng(0), {}
    for slot in slots:
        open_ = [axis for axis in slot.shape if not isinstance(axis, int)]
        if open_:
            raise ValueError(f"the input '{slot.name}' has the axis '{open_[0]}' of no fixed length, so there is no "
                             "telling how long a run takes; export the network with fixed shapes")
        kind = slot.type[len("tensor("):-1]
        if kind not in TYPES:
            raise ValueError(f"the input '{slot.name}' is a {slot.type}, which cannot be made up; legal: "
                             + ", ".join(TYPES))
        floats = kind in ("float", "double", "float16")
        feed[slot.name] = (rng.standard_normal(slot.shape) if floats else np.zeros(slot.shape)).astype(TYPES[kind])
    return feed


def profiled(model: bytes, feed: Mapping[str, Any], names: Sequence[str], request: Mapping[str, Any],
             alive: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
    """The events of operators that onnxruntime's profiler writes in some more runs, fewer where they take long."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(model, request, os.path.join(folder, "profile"))
        start = time.monotonic()
        for i in range(request["profile"] + SKIPPED):
            if i <= SKIPPED or time.monotonic() - start < LONGEST:
                session.run(names, feed)
                alive()
        with open(session.end_profiling(), encoding="utf-8") as file:
            events = json.load(file)
    return [event for event in events
            if event.get("cat") == "Node" and event.get("name", "").endswith("_kernel_time")]


def per_operator(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each operator of the optimised graph, in the order of running, with the mean of the middle half of
    its times (the profiler tells whole microseconds, of which a median would stay one)."""
    times: dict[tuple[str, str], list[float]] = {}
    first: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        key = (event["args"].get("node_index", ""), event["name"])
        first.setdefault(key, event)
        times.setdefault(key, []).append(event["dur"] / 1e3)
    return [{"name": event["name"][:-len("_kernel_time")], "op": event["args"].get("op_name", ""),
             "inputs": shapes(event["args"].get("input_type_shape")),
             "outputs": shapes(event["args"].get("output_type_shape")),
             "milliseconds": middle(times[key][SKIPPED:] or times[key])} for key, event in first.items()]


def middle(values: Sequence[float]) -> float:
    """The mean of the middle half."""
    ordered, quarter = sorted(values), len(values) // 4
    return statistics.fmean(ordered[quarter:len(ordered) - quarter])


def shapes(said: Any) -> list[dict[str, Any]]:
    """`[{"float": [1, 3, 32, 32]}]` as the profiler writes it, to type and shape."""
    return [{"dtype": kind, "shape": list(shape)} for each in said or () if isinstance(each, dict)
            for kind, shape in each.items()]


def arena_bytes(events: Sequence[Mapping[str, Any]]) -> int | None:
    """The most that the arena held in a run beyond what it held before it, as newer versions of the profiler say."""
    try:
        before = int(events[0]["args"]["mem_bytes_in_use"]) - int(events[0]["args"]["mem_in_use_delta"])
        return max(int(event["args"]["mem_bytes_in_use"]) for event in events) - before
    except (KeyError, IndexError, ValueError):
        return None


class Counter:
    """An energy counter of the kernel, in microjoules, which starts again from 0 when it is full."""

    def __init__(self, zone: str) -> None:
        self.path = os.path.join(zone, "energy_uj")
        limit = read(os.path.join(zone, "max_energy_range_uj"))
        self.limit = int(limit) if limit.isdigit() else 0
        self.last = int(read(self.path))
        self.sum = 0

    def used(self) -> int:
        now = int(read(self.path))
        self.sum += now - self.last if now >= self.last else now - self.last + self.limit
        self.last = now
        return self.sum


def rapl(folder: str) -> Callable[[], float] | None:
    """Joules that all processor packages have used from now on; None where the kernel does not let us read that."""
    zones = [zone for zone in sorted(glob.glob(os.path.join(folder, "intel-rapl:*")))
             if read(os.path.join(zone, "name")).startswith("package")]
    if not zones or not all(read(os.path.join(zone, "energy_uj")).isdigit() for zone in zones):
        return None
    counters = [Counter(zone) for zone in zones]
    return lambda: sum(counter.used() for counter in counters) / 1e6


def identity() -> dict[str, Any]:
    """Which machine this is and how it is set, as far as the system says."""
    processor = ""
    for line in read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware"):
            processor = value.strip()
    governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {"board": read("/proc/device-tree/model").strip("\0"),
            "processor": processor or platform.processor() or platform.machine(), "machine": platform.machine(),
            "system": platform.platform(terse=True), "cores": os.cpu_count(),
            "python": platform.python_version(), "governor": governor or "not told",
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None}


def read(path: str) -> str:
    """A small file of the system; empty where it is absent or closed to us."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
