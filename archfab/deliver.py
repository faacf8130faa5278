"""Delivery: a network trained at full budget, exported, checked, and written as a bundle that can be derived again."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from archfab import registry
from archfab.core import Budget, Estimate, Event, Genotype, Port, Spec, Task, Trial, UsageError, identity
from archfab.evaluate import Workbench, finite, reason
from archfab.exporting import to_onnx
from archfab.learning import seed_torch
from archfab.lowering.concrete import build
from archfab.plan import environment
from archfab.space import Space, network_of, networks_of

FORMAT = 1
CHECKED = 64                # real inputs that the export is checked on
TOLERANCE = 1e-4            # largest difference between torch and ONNX, as a share of the largest output
ROUNDED = 1e-2              # the mean one over the inputs, of networks that round: a number may fall the other way


def deliver(bench: Workbench, trial: Trial, folder: str, seeds: int) -> Event:
    """Trains a network `seeds` times from scratch, exports the first, and writes its bundle below `folder`.

    Test data is used here, once for each seed, and nowhere else. Which seed is exported does not depend on
    the scores.
    """
    ident = identity(trial.genotype)
    try:
        seeds = 1 if bench.estimator.delivers and bench.estimator.same else seeds
        trained = [train(bench, trial.genotype, seed_of(bench.spec, trial, i)) for i in range(seeds)]
        model, curve = trained[0][0], trained[0][1]
        scores = [test for _, _, test in trained]
        tests = [finite(test) for test in scores]
        relative = f"bundles/{ident}"
        bundle = contents(bench, trial, tests, model)
        difference = write(Path(folder) / relative, bench, model, bundle)
        shown = exhibit(Path(folder) / relative, bench, model)
        means = {name: float(np.mean([test[name] for test in tests])) for name in tests[0]}
        data = {"id": ident, **shown, "bundle": relative, "seeds": len(tests), "export_difference": difference,
                "test": means,
                "test_interval": {name: np.mean([ends(test[name]) for test in scores], axis=0).tolist()
                                  for name in means},
                "test_spread": {name: float(np.std([test[name] for test in tests])) for name in tests[0]}}
        return Event("delivered", trial, curve=[finite(row) for row in curve], data=data)
    except OSError:
        raise
    except Exception as error:
        return Event("delivered", trial, note=reason(error), data={"id": ident})


def ends(score: float) -> tuple[float, float]:
    """Where the true value of a score lies, as far as that is known."""
    return (score.low, score.high) if isinstance(score, Estimate) else (float(score), float(score))


def exhibit(folder: Path, bench: Workbench, model: torch.nn.Module) -> dict[str, Any]:
    """Writes what a network shows beside its bundle and names it; a fault in that takes no network away."""
    try:
        shown = list(bench.task.exhibits(model))
        for each in shown:
            (folder / each.file).write_bytes(each.content)
        return {"exhibits": [{"file": each.file, "about": each.about} for each in shown]} if shown else {}
    except OSError:
        raise
    except Exception as error:
        return {"exhibits": [], "exhibits_failed": reason(error)}


def seed_of(spec: Spec, trial: Trial, i: int) -> str:
    return f"{spec.seed}:deliver:{trial.number}:{i}"


def train(bench: Workbench, genotype: Genotype, seed: str) -> tuple[torch.nn.Module, list[dict[str, float]],
                                                                   Mapping[str, float]]:
    """A network trained for delivery, its curve and its test scores: all of it follows from the seed."""
    rng, genotype = random.Random(seed), network_of(genotype)
    torch.set_num_threads(bench.spec.threads)
    seed_torch(rng)
    assert bench.example is not None
    if (ready := bench.estimator.network(bench.task, bench.networks, genotype, rng)) is not None:
        model, curve = ready
    else:
        model = build(bench.networks, genotype, bench.example)
        curve = bench.task.fit(model, Budget.from_plain(bench.spec.full_budget), rng, full=True)
    model.cpu().to(memory_format=torch.contiguous_format)
    scores = bench.task.score(model, "test")            # on an accelerator, where there is one
    return model.cpu().eval(), curve, scores


def contents(bench: Workbench, trial: Trial, tests: list[Mapping[str, float]],
             model: torch.nn.Module) -> dict[str, Any]:
    """Everything that a bundle says in `bundle.json`."""
    spec, costs = bench.spec, bench.costs(trial.genotype)
    return {"format": FORMAT, "id": identity(trial.genotype), "genotype": dict(trial.genotype),
            "space_hash": bench.space.hash, "seed": seed_of(spec, trial, 0), "spec": spec.plain(),
            "costs": costs.plain(), "cost_notes": dict(costs.notes), "device": spec.device, "test": tests,
            "taught": bench.estimator.taught, "weights_digest": digest(model.state_dict()),
            "preprocessing": bench.task.preprocessing(),
            "inputs": [[list(x.shape), str(x.dtype).removeprefix("torch.")] for x in bench.example or ()],
            "environment": environment(bench)}


def write(folder: Path, bench: Workbench, model: torch.nn.Module, bundle: dict[str, Any]) -> float:
    """Writes a bundle whole or not at all; returns the largest relative difference of the export."""
    draft = folder.with_name(folder.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        model.cpu().eval()
        assert bench.example is not None
        export_onnx(bench.task.exported(model), bench.task.example_for(network_of(bundle["genotype"]), 2) or (),
                    draft / "network.onnx", bench.task.ports)
        bundle["export_difference"] = check_onnx(model, bench.task.inputs(CHECKED), draft / "network.onnx")
        bundle["layout"] = lay_out(bench, model, bundle["genotype"], draft / "network.onnx")
        torch.save(model.state_dict(), draft / "weights.pt")
        (draft / "bundle.json").write_text(json.dumps(bundle, indent=1, allow_nan=False), encoding="utf-8")
        old = folder.with_name(folder.name + ".old.new")
        if folder.exists():
            os.replace(folder, old)
        os.replace(draft, folder)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return bundle["export_difference"]


def lay_out(bench: Workbench, model: torch.nn.Module, genotype: Genotype, path: Path) -> dict[str, Any]:
    """The memory layout in which a network is faster on this machine, for those who load it; takes transposes that undo
    each other out of the exported file, where it gives the same without them. What cannot be told changes nothing."""
    import onnx

    from archfab.hardware.measuring.layouts import fitting
    try:
        exported, inputs = onnx.load(path), bench.task.inputs(CHECKED)
        chosen, lean = fitting(bench.task.exported(model), exported, bench.task.example_for(network_of(genotype)) or (),
                               bench.spec.threads, inputs)
        if lean is not exported:
            path.write_bytes(lean.SerializeToString())
        if chosen["torch"] == "nhwc":
            try:                            # on many inputs too it gives the same
                check_onnx(copy.deepcopy(model).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
                           inputs, path)
            except (ArithmeticError, RuntimeError) as error:
                return {**chosen, "torch": "nchw", "failed": reason(error)}
        return chosen
    except OSError:
        raise
    except Exception as error:
        return {"torch": "nchw", "transposes_removed": 0, "failed": reason(error)}


def export_onnx(model: torch.nn.Module, example: tuple[Any, ...], path: Path,
                ports: tuple[tuple[Port, ...], tuple[Port, ...]] = Task.ports) -> None:
    """Writes the network as ONNX, for any length of the axes that may vary: the batch, unless the task says others."""
    path.write_bytes(to_onnx(model, example, ports).SerializeToString())


def check_onnx(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...], path: Path) -> float:
    """The largest difference between torch and onnxruntime on real inputs, as a share of the largest output; of a
    network that rounds, the mean over the inputs if that is too large.

    :raises ArithmeticError: when it is above the tolerance.
    """
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {slot.name: x.numpy() for slot, x in zip(session.get_inputs(), inputs, strict=True)}
    theirs = session.run(None, feed)
    with torch.no_grad():
        ours = [x.detach().numpy() for x in pytree.tree_leaves(model(*inputs))]
    difference = float(np.max([np.abs(our - their).max() / max(np.abs(our).max(), 1e-12)      # NaN where one is
                               for our, their in zip(ours, theirs, strict=True)]))
    allowed = TOLERANCE
    if difference > TOLERANCE and rounds(path):
        allowed, difference = ROUNDED, float(np.max([
            np.abs(our - their).reshape(max(1, *our.shape[:1]), -1).max(1).mean() / max(np.abs(our).max(), 1e-12)
            for our, their in zip(ours, theirs, strict=True)]))
    if not difference <= allowed:
        raise ArithmeticError(f"the exported network differs from the trained one by {difference:.2g} of its output")
    return difference


def rounds(path: Path) -> bool:
    """Whether a network rounds numbers inside: the last digit of a sum can then turn into a whole step."""
    import onnx
    return any(node.op_type == "Round" for node in onnx.load(path).graph.node)


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """A name for the exact weights."""
    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        found.update(name.encode())
        found.update(value.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def read_bundle(folder: Path | str) -> dict[str, Any]:
    """What a bundle says, checked to be one of ours."""
    path = Path(folder) / "bundle.json"
    try:
        bundle = json.loads(path.read_text(encoding="utf-8"))
        if bundle["format"] > FORMAT:
            raise UsageError(f"{path} was written by a newer archfab (format {bundle['format']})")
        for key in ("genotype", "spec", "seed", "weights_digest", "test", "costs", "environment", "inputs"):
            bundle[key]
        return bundle
    except OSError:
        raise UsageError(f"there is no bundle at {folder} (no file bundle.json in it)") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged or no bundle of archfab: {error}") from None


def load_model(folder: Path | str) -> torch.nn.Module:
    """The trained torch module of a bundle; neither its task nor its data is needed."""
    bundle = read_bundle(folder)
    model = build(*described(bundle))
    model.load_state_dict(read_weights(folder))
    if bundle.get("layout", {}).get("torch") == "nhwc":
        model.to(memory_format=torch.channels_last)         # type: ignore[call-overload]
    return model.eval()


def described(bundle: Mapping[str, Any]) -> tuple[Space, Genotype, tuple[torch.Tensor, ...]]:
    """What a bundle's network is made from: a space of networks, one of them, and inputs."""
    spec = Spec.from_plain(bundle["spec"])
    for source in (spec.task, spec.space_from):
        if source and source.endswith(".py") and Path(source).exists():
            registry.user_file(Path(source))
    example = tuple(torch.zeros(shape, dtype=getattr(torch, kind)) for shape, kind in bundle["inputs"])
    return networks_of(Space.from_data(spec.space)), network_of(bundle["genotype"]), example


def read_weights(folder: Path | str) -> dict[str, torch.Tensor]:
    try:
        return torch.load(Path(folder) / "weights.pt", weights_only=True)
    except Exception as error:
        raise UsageError(f"the weights in {folder} cannot be read: {reason(error)}") from None


def replay(folder: Path | str) -> dict[str, Any]:
    """Derives a bundle again from what it says, and says what differs.

    :returns: `same` (weights equal to the last bit), `differences` in words, and both test scores.
    """
    bundle = read_bundle(folder)
    bench = Workbench(Spec.from_plain(bundle["spec"]), folder=Path(folder).resolve().parents[1])
    bench.estimator.folder, bench.estimator.taught = Path(folder).resolve().parents[1] / "shared", \
        bundle.get("taught", 0)
    model, _, scores = train(bench, bundle["genotype"], bundle["seed"])
    test, costs = finite(scores), bench.costs(bundle["genotype"]).plain()
    again = {"weights_digest": digest(model.state_dict()), "space_hash": identity(bundle["spec"]["space"]),
             "id": identity(bundle["genotype"]), "preprocessing": bench.task.preprocessing()}
    before, after = lasting(bundle["costs"]), lasting(costs)
    differences = [f"{key}: {bundle[key]} then, {value} now" for key, value in again.items() if bundle[key] != value]
    differences += [f"{name}: {before.get(name)} then, {after.get(name)} now" for name in before | after
                    if before.get(name) != after.get(name)]
    if digest(read_weights(folder)) != bundle["weights_digest"]:
        differences.append("weights.pt: not the weights that were delivered")
    differences += [f"test {name}: {bundle['test'][0][name]:.6g} then, {value:.6g} now"
                    for name, value in test.items() if bundle["test"][0][name] != value]
    now = environment(bench)
    surroundings = [f"{key}: {then} then, {now.get(key)} now" for key, then in bundle["environment"].items()
                    if now.get(key) != then] + moved(bundle["costs"], costs)
    exported = check_export(folder, model, bench)
    return {"bundle": str(folder), "id": bundle["id"], "same": not differences and not exported,
            "differences": differences + exported, "environment": surroundings,
            "test": {"then": bundle["test"][0], "now": test}}


def lasting(costs: Mapping[str, Any]) -> dict[str, Any]:
    """The costs that are the same each time: what was measured is not."""
    return {name: cost for name, cost in costs.items() if cost["origin"] != "measured"}


def moved(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The measured costs whose intervals do not meet, in words."""
    return [f"{name}, measured: {then[name]['value']:.6g} then, {cost['value']:.6g} now" for name, cost in now.items()
            if name in then and cost["origin"] == then[name]["origin"] == "measured"
            and not (cost["low"] <= then[name]["high"] and then[name]["low"] <= cost["high"])]


def check_export(folder: Path | str, model: torch.nn.Module, bench: Workbench) -> list[str]:
    """What is wrong with the exported file beside the network just derived, in words."""
    try:
        check_onnx(model, bench.task.inputs(CHECKED), Path(folder) / "network.onnx")
        return []
    except Exception as error:
        return [f"network.onnx: {reason(error)}"]
