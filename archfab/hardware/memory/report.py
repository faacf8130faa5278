"""A plan for people: what a network needs on a device, what is held where the most is, what patches would save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archfab.core import Device, UsageError
from archfab.hardware.kernels import FOLDS_INTO, fuse
from archfab.hardware.memory.graph import Graph, Name
from archfab.hardware.memory.kernels import graph_of
from archfab.hardware.memory.patches import Split, splits
from archfab.hardware.memory.planning import Plan
from archfab.hardware.memory.runtime import Runtime
from archfab.hardware.workload import Workload


def report(device: Device, workload: Workload, picture: bool = False) -> tuple[dict[str, Any], bytes | None]:
    """The plan of a network on a device as plain data, with what running its first stage patch by patch would save or
    why it cannot be run so; and as a PNG file, where a picture is asked for."""
    runtime: Runtime = getattr(device, "runtime", Runtime())
    bits = getattr(device, "bits", 32)
    kernels = fuse(workload, getattr(device, "fusion", FOLDS_INTO))
    graph = graph_of(kernels, workload, bits, runtime.keeps_input)
    plan = runtime.plan_graph(graph)
    found: dict[str, Any] = {"bits": bits, **document(plan, graph)}
    said = sentences(plan, graph, runtime.reorders)
    try:
        found["patches"] = [plain(split) for split in splits(kernels, workload, bits, runtime)]
        said += patch_sentences(found["patches"])
    except UsageError as error:
        found["patches"], found["no_patches"] = [], str(error)
        said.append(str(error))
    limit = device.capacity.get("memory_kb")
    image = None
    if picture:
        from archfab.hardware.memory.picture import picture as png
        image = png(plan, graph, None if limit is None or limit * 1024 > 3 * plan.arena else round(limit * 1024))
    return {**found, "said": said}, image


def plain(split: Split) -> dict[str, Any]:
    return {"kernels": split.kernels, "grid": list(split.grid), "more_macs": split.more_macs,
            "arena_bytes": split.plan.arena}


def patch_sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if len(rows) == 1:
        return ["running the first stage patch by patch saves nothing"]
    least = rows[-1]
    half = next((row for row in rows if row["arena_bytes"] <= rows[0]["arena_bytes"] / 2), None)
    chosen = [row for row in (half, least) if row is not None]
    return [f"patch by patch (the first {row['kernels']} kernels in {row['grid'][0]} x {row['grid'][1]} patches): "
            f"{row['arena_bytes']:,} bytes for {row['more_macs']:.1%} more work"
            for i, row in enumerate(chosen) if row not in chosen[:i]]


def document(plan: Plan, graph: Graph) -> dict[str, Any]:
    """The plan as plain data: sizes in bytes, steps in the order in which they run."""
    made = makers(graph)
    peak = plan.fullest
    held = sorted(((name, span) for name, span in plan.lives.items()
                   if span[0] <= peak <= span[1] and name not in graph.views), key=lambda item: plan.offsets[item[0]])
    return {
        "arena_bytes": plan.arena, "peak_bytes": plan.peak, "bound_bytes": plan.bound, "gap": plan.gap,
        "reordered": list(plan.order) != sorted(plan.order),
        "steps": [{"step": k, "name": graph.steps[k].name, "live_bytes": live, "scratch_bytes": graph.steps[k].scratch}
                  for k, live in zip(plan.order, plan.live, strict=False)],
        "peak": {"place": peak, "step": plan.order[peak] if plan.order else None,
                 "name": graph.steps[plan.order[peak]].name if plan.order else "",
                 "holds": [{"buffer": str(name), "bytes": graph.size(name), "offset": plan.offsets[name],
                            "made_by": made.get(name, "the input")} for name, _ in held]},
        "buffers": [{"buffer": str(name), "bytes": graph.size(name), "offset": plan.offsets[name],
                     "first": first, "last": last, "made_by": made.get(name, "the input")}
                    for name, (first, last) in plan.lives.items()]}


def makers(graph: Graph) -> Mapping[Name, str]:
    """What the steps are called that write each buffer first."""
    found: dict[Name, str] = {}
    for step in graph.steps:
        for name in step.writes:
            if name not in graph.inputs:
                found.setdefault(name, step.name)
    return found


def sentences(plan: Plan, graph: Graph, reorders: bool = True) -> list[str]:
    """What an engineer has to know who must fit a memory: how much, where, and what lies there.

    :param reorders: whether the plan was free to choose the order.
    """
    least = "the least that any order needs" if reorders else "the least in the network's own order"
    told = document(plan, graph)
    peak = told["peak"]
    lines = [f"{plan.arena:,} bytes ({plan.arena / 1024:.4g} KiB) hold all activations"
             + (f", {least}" if plan.gap == 0 else f", at most {plan.gap:.1%} above the least")
             + ("; the kernels run in another order than the network's" if told["reordered"] else "")]
    if plan.order:
        lines.append(f"the peak is at kernel {peak['step']}: {peak['name']}, with {plan.peak:,} bytes:")
        lines += [f"  {each['bytes']:>10,}  at {each['offset']:>9,}  made by {each['made_by']}"
                  for each in peak["holds"]]
    return lines
