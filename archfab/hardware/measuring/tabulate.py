"""A table for `lookup`, measured: every kernel of a space alone on a device, and whole networks to see how far off
their sums are."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab.core import BuildError, Genotype, UsageError
from archfab.hardware.kernels import fuse
from archfab.hardware.measuring.kernel_models import empty_model, kernel_model
from archfab.hardware.measuring.remote import Sample
from archfab.hardware.measuring.table import Key, key_of, write_table
from archfab.hardware.models.lookup import Lookup

if TYPE_CHECKING:
    from archfab.hardware.models.host import Host
    from archfab.hardware.workload import Workload
    from archfab.space import Space

REORDERS = {"ReorderInput", "ReorderOutput"}
"""Operators that a kernel alone needs to enter and leave the layout in which its neighbours would have handed it on."""
BATCH = 40          # kernels that are sent at once
IDLE = 20           # networks in a row without a kernel that is new, at least, until a space is known
ATTEMPTS = 3        # at a kernel during which the machine did not hold still
STUDENT = {2: 6.314, 3: 2.920, 4: 2.353, 5: 2.132}
"""Deviations within which 90 % lie, of so few samples; 2 of more."""
FLOOR = 1e-5        # milliseconds of a kernel that could not be told from nothing


@dataclass(frozen=True)
class Tabulated:
    """What was measured of a space's kernels."""

    milliseconds: Mapping[Key, float]
    start_ms: float                         # what a run takes beside its kernels
    not_measured: Mapping[Key, str]         # with the reason
    machine: Mapping[str, Any]


def kernels_of_space(space: Space, workload: Callable[[Genotype], Workload], rng: random.Random,
                     networks: int = 500) -> list[Key]:
    """The kernels of networks in which every option of every decision is taken once, then of random networks until
    many in a row bring no kernel that is new, or so many networks were looked at."""
    found: dict[Key, None] = {}
    idle = 0
    for genotype in itertools.islice(around(space, rng), networks):
        try:
            traced = workload(genotype)
        except BuildError:
            continue
        before = len(found)
        found.update(dict.fromkeys(key_of(kernel, traced) for kernel in fuse(traced)))
        idle = 0 if len(found) > before else idle + 1
        if idle > max(IDLE, sum(len(labels) for labels in space.labels.values()) // 2):
            break
    return list(found)


def around(space: Space, rng: random.Random) -> Iterator[dict[str, Any]]:
    """A random network, its neighbours by each option of each decision, then random ones for ever."""
    base = space.sample(rng)
    yield base
    for name in base:
        yield from (space.fix({**base, name: label}) for label in space.labels[name] if label != base[name])
    while True:
        yield space.sample(rng)


def tabulate(keys: Sequence[Key], host: Host, tell: Callable[[int, int], None] = lambda done, of: None) -> Tabulated:
    """The milliseconds that each kernel takes alone: its run less an empty one, without the reordering that it would
    not need among its neighbours."""
    models = {key: kernel_model(key) for key in keys}
    reasons = {key: "its key does not tell how to make it" for key, model in models.items() if model is None}
    samples = {key: Sample(model.SerializeToString()) for key, model in models.items() if model is not None}
    nothing = [Sample(empty_model().SerializeToString())]
    empty, start = host.found(nothing, bound=True)[0], host.found(nothing)[0]
    least = empty["timing"]["median"] * 1e3
    times: dict[Key, float] = {}
    waiting = list(samples)
    for _ in range(ATTEMPTS):
        restless = []
        for at in range(0, len(waiting), BATCH):
            part = waiting[at:at + BATCH]
            for key, found in zip(part, host.found([samples[key] for key in part], bound=True), strict=True):
                if "error" in found:
                    reasons[key] = found["error"]
                elif found["timing"]["refused"]:
                    restless.append(key)
                else:
                    times[key] = alone(found, least)
            tell(min(at + BATCH, len(waiting)), len(waiting))
        waiting = restless
    reasons.update(dict.fromkeys(waiting, f"the machine did not hold still, {ATTEMPTS} times"))
    return Tabulated(times, start["timing"]["median"] * 1e3, reasons, empty["machine"])


def alone(found: Mapping[str, Any], least: float) -> float:
    rows = found["operators"]
    whole = sum(row["milliseconds"] for row in rows)
    reordering = sum(row["milliseconds"] for row in rows if row["operator"] in REORDERS)
    share = 1 - reordering / whole if whole else 1.0
    return max(FLOOR, (1e3 * found["timing"]["median"] - least) * share)


def additivity(host: Host, device: Lookup, workloads: Iterable[Workload]) -> list[dict[str, float]]:
    """Whole networks measured beside the sums of their kernels; those of which a kernel is not listed are left out."""
    rows = []
    for traced in workloads:
        figures = device.cost(traced).figures
        if "latency_ms" not in figures:
            continue
        try:
            measured = host.cost(traced).figures["latency_ms"].value
        except BuildError:
            continue
        total = figures["latency_ms"].value
        rows.append({"measured_ms": measured, "sum_ms": total, "ratio": measured / total})
    return rows


def scale_of(ratios: Sequence[float]) -> tuple[float, float]:
    """The geometric mean of two ratios or more, and the factor both ways within which a further one lies with about
    90 %: two standard deviations of their logarithms, more of few ratios (Student's t), times sqrt(1 + 1/n), or the
    largest that one is off by the mean of the others, whichever is more."""
    logs, n = [math.log(ratio) for ratio in ratios], len(ratios)
    mean = sum(logs) / n
    deviation = math.sqrt(sum((log - mean) ** 2 for log in logs) / (n - 1))
    left_out = max(abs(log - (n * mean - log) / (n - 1)) for log in logs)
    return math.exp(mean), math.exp(max(STUDENT.get(n, 2.0) * deviation * math.sqrt(1 + 1 / n), left_out))


def make_device(name: str, folder: Path, host: Host, space: Space, workload: Callable[[Genotype], Workload],
                rng: random.Random, networks: int = 12,
                tell: Callable[[int, int], None] = lambda done, of: None) -> dict[str, Any]:
    """Measures a space's kernels on `host` and writes NAME.csv and NAME.toml, a `lookup` device that says how far sums
    of its entries were off on some random networks; what was found, as plain data. Both files are written once all
    is measured, or neither.

    :raises UsageError: where the device runs no ONNX, or fewer than two networks could be checked, so that nothing can
        be said of the sums.
    """
    if host.options.runtime != "onnxruntime":
        raise UsageError(f"kernels are measured one by one through onnxruntime, and '{host.name}' runs "
                         f"{host.options.runtime}; give host, or a .toml file with model = \"host\"")
    if networks < 2:
        raise UsageError(f"how far sums are off takes two random networks or more, not {networks}")
    table = tabulate(kernels_of_space(space, workload, rng), host, tell)
    if not table.milliseconds:
        why = next(iter(table.not_measured.values()), "it has none")
        raise UsageError(f"none of the space's kernels could be measured: {why}")
    machine = json.dumps(dict(table.machine), ensure_ascii=False)
    said = f"archfab, every kernel of a space alone on {host.place.name}: {machine}"
    numbers: dict[str, Any] = {
        "name": name, "about": f"table of {len(table.milliseconds)} kernels measured on {host.place.name}",
        "model": "lookup", "table": {"file": f"{name}.csv", "origin": "measured", "source": said},
        "start_ms": {"value": table.start_ms, "origin": "measured", "source": "a run of an empty network"},
        "error": {"latency_ms": {"low": 1.0, "high": 1.0, "origin": "calibrated", "source": "to be measured"}}}
    rows = sorted(((key,), value) for key, value in table.milliseconds.items())
    with tempfile.TemporaryDirectory() as draft:
        write_table(Path(draft) / f"{name}.csv", rows)
        sums = Lookup({**numbers, "path": str(Path(draft) / f"{name}.toml")})
        checked = additivity(host, sums, drawn := list(itertools.islice(buildable(space, workload, rng), networks)))
        if len(checked) < 2:
            raise UsageError(unchecked(host, sums, drawn, table))
    scale, factor = scale_of([row["ratio"] for row in checked])
    words = f"of {len(checked)} random networks, whole ones measured to the sums of their kernels"
    numbers["scale"] = {"value": scale, "origin": "calibrated", "source": f"the mean ratio {words}"}
    numbers["error"]["latency_ms"].update(
        low=1 / factor, high=factor, source=f"two standard deviations of the logarithm of the ratio {words}")
    write_table(folder / f"{name}.csv", rows)
    (folder / f"{name}.toml").write_text(toml_of(numbers), encoding="utf-8")
    return {"kernels": len(table.milliseconds), "start_ms": table.start_ms, "scale": scale, "checked": checked,
            "drawn": len(drawn), "not_measured": {str(key): why for key, why in table.not_measured.items()},
            "table": str(folder / f"{name}.csv"), "device": str(folder / f"{name}.toml")}


def buildable(space: Space, workload: Callable[[Genotype], Workload], rng: random.Random) -> Iterator[Workload]:
    """Random networks of a space, for ever; those that cannot be built are left out."""
    while True:
        with contextlib.suppress(BuildError):
            yield workload(space.sample(rng))


def unchecked(host: Host, sums: Lookup, drawn: Sequence[Workload], table: Tabulated) -> str:
    """Why too few networks could be measured beside the sums of their kernels."""
    lacking = list(dict.fromkeys(key for each in drawn for key in sums.cost(each).unknown))
    if not lacking:
        return (f"fewer than two networks could be checked, for {host.place.name} did not hold still; end other work "
                "there")
    reasons = {str(key): why for key, why in table.not_measured.items()}
    return ("fewer than two networks could be checked, for others have kernels that are not listed, such as "
            + "; ".join(f"{key} ({reasons.get(key, 'no network that was looked at has it')})" for key in lacking[:3]))


def toml_of(numbers: Mapping[str, Any]) -> str:
    """A device as TOML, whose texts and numbers are written as in JSON."""
    lines = [f"{key} = {json.dumps(numbers[key], ensure_ascii=False)}" for key in ("about", "model")]
    groups = {"table": numbers["table"], "start_ms": numbers["start_ms"], "scale": numbers["scale"],
              "error.latency_ms": numbers["error"]["latency_ms"]}
    for group, entries in groups.items():
        lines += ["", f"[{group}]",
                  *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items())]
    return "\n".join(lines) + "\n"


def quick(host: Host, seconds: float = 0.1) -> Host:
    """The same device with no more than so much time for each network, for the many kernels of a table."""
    import copy
    made = copy.copy(host)
    made.settings = replace(host.settings, seconds=min(seconds, host.settings.seconds),
                            warmup=min(seconds, host.settings.warmup))
    return made
