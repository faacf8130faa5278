"""A network, named as a genotype of a task, an ONNX file or a bundle, and what a device says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfab.core import BuildError, Device, UsageError
from archfab.evaluate import load_device
from archfab.plan import plan
from archfab.space import device_of, network_of

if TYPE_CHECKING:
    from archfab.hardware.workload import Workload


def cost_of(target: str, device: str, genotype: str | None = None, space: str | None = None, data: str | None = None,
            shapes: Sequence[str] = (), options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The costs of a network on a device by its name: with their origins, the operators that they add up from, those
    that the cost model does not know, and where the device's own numbers come from."""
    workload = workload_of(target, genotype, space, data, shapes, options or {})
    return {"network": target, **costs_on(device_for(device, target, genotype), workload)}


def device_for(device: str, target: str, genotype: str | None) -> Device:
    """A device, with those of its decisions taken that a genotype's file or a bundle says. One that has no decisions
    is what it is, whatever chip the network was found with."""
    live, said = load_device(device), genotype or (path if (path := Path(target) / "bundle.json").exists() else None)
    return live.decided(device_of(read_genotype(Path(said)))) if said and live.decisions else live


def costs_on(device: Device, workload: Workload) -> dict[str, Any]:
    """What a device says of a workload, as plain data."""
    try:
        costs = device.cost(workload)
    except BuildError as error:
        raise UsageError(f"the device '{device.name}' cannot cost this network: {error}") from None
    return {"device": device.name, "costs": {name: asdict(cost) for name, cost in costs.figures.items()},
            "operators": [dict(row) for row in costs.operators], "unknown": list(costs.unknown),
            "capacity": dict(device.capacity), "notes": dict(costs.notes),
            "sources": {name: dict(entry) for name, entry in device.sources.items()}}


def workload_of(target: str, genotype: str | None, space: str | None, data: str | None, shapes: Sequence[str],
                options: Mapping[str, Any]) -> Workload:
    """What the network runs that a name of a task with a genotype file, an ONNX file or a bundle's folder says."""
    path = Path(target)
    if path.is_dir() and (path / "network.onnx").exists():
        path = path / "network.onnx"
    if path.suffix == ".onnx":
        from archfab.hardware.onnx_file import read_onnx, record_onnx
        for name, value in {"--genotype": genotype, "--space": space, "--data": data, **options}.items():
            if value is not None:
                raise UsageError(f"an ONNX file is a network of its own; leave {name} out")
        recorded = record_onnx(read_onnx(path), dict(map(shape, shapes)))
        return recorded if target.endswith(".onnx") or shapes else in_its_bits(Path(target), recorded)
    if shapes:
        raise UsageError("--shape says the inputs of an ONNX file; the inputs of a task's network are known")
    bench = plan(target, space=space, data=data, options=options)
    if bench.example is None:
        raise UsageError(f"the task '{target}' has no networks, so none that could cost anything")
    if genotype is None:
        raise UsageError("say which network: --genotype FILE (or give an .onnx file, or a bundle's folder)")
    decided = network_of(read_genotype(Path(genotype)))
    bench.space.check(decided)
    try:
        return bench.workload(decided)
    except BuildError as error:
        raise UsageError(f"this network cannot be built: {error}") from None


def in_its_bits(folder: Path, recorded: Workload) -> Workload:
    """What a bundle's network runs in the bits that it rounds to: its ONNX file rounds in plain operators, which say
    none, so it is recorded from its genotype."""
    from archfab.deliver import described, read_bundle, rounds
    if not (folder / "bundle.json").exists() or not rounds(folder / "network.onnx"):
        return recorded
    from archfab.hardware.tracing import trace
    return replace(trace(*described(read_bundle(folder))), network=recorded.network)


def shape(text: str) -> tuple[str, list[int]]:
    """NAME=1x3x224x224 as a name and numbers."""
    name, has, sizes = text.partition("=")
    try:
        numbers = [int(size) for size in sizes.split("x")]
        if not has or not name or min(numbers) < 1:
            raise ValueError
    except ValueError:
        raise UsageError(f"--shape is written NAME=1x3x224x224, not '{text}'") from None
    return name, numbers


def read_genotype(path: Path) -> dict[str, Any]:
    """A genotype from a JSON file: the bare decisions, or a bundle or a front member that holds them."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON file: {error}") from None
    found = data.get("genotype", data) if isinstance(data, dict) else data
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no genotype: a JSON object from choice name to label")
    return found
