"""A network and its chip as one space: both are drawn, the network is trained once, the chip changes costs alone."""

import json
import random
from pathlib import Path

import pytest

import archfab
from archfab import choose, nn, registry
from archfab.core import Budget, Event, Job, Trial, UsageError
from archfab.costing.costs import cost_of, device_for
from archfab.deliver import replay
from archfab.evaluate import load_device
from archfab.lowering.concrete import build
from archfab.plan import plan
from archfab.runs import Log, Store
from archfab.search import outcome
from archfab.space import Space, device_of, joined, network_of, networks_of
from archfab.terminal import show_run

NETWORK = Space(nn.Sequential(nn.ConvNormAct(choose("width", 4, 8), 3), nn.Classifier(classes=10)))
OPEN = {"array": (4, 8), "node_nm": (28, 7)}
JOINT = joined(NETWORK, OPEN)
MINE = """
from archfab.core import Cost, Costs, Device

class Mine(Device):
    name, about, figures = "mine", "a device that can be large or small", ("area_mm2", "params")
    decisions = {"size": (1, 2, 3)}
    size = 9

    def decided(self, labels):
        made = Mine()
        made.size = labels.get("size", self.size)
        return made

    def cost(self, workload):
        return Costs({"area_mm2": Cost.counted(self.size), "params": Cost.counted(workload.params)})

export = Mine
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_a_joint_space_has_the_decisions_of_both_and_each_can_be_had_alone():
    assert JOINT.size == NETWORK.size * 4
    genotype = JOINT.sample(random.Random(0))
    assert set(genotype) == {"width", "device.array", "device.node_nm"}
    assert set(network_of(genotype)) == {"width"} and set(device_of(genotype)) == {"array", "node_nm"}
    assert networks_of(JOINT).hash == NETWORK.hash
    assert networks_of(NETWORK) is NETWORK and joined(NETWORK, {}) is NETWORK
    assert Space.from_data(JOINT.data).hash == JOINT.hash
    assert networks_of(Space.from_data(JOINT.data)).hash == NETWORK.hash


def test_a_joint_space_builds_the_network_whatever_the_device():
    import torch
    x = torch.zeros(2, 1, 8, 8)
    torch.manual_seed(0)
    alone = build(NETWORK, {"width": 8}, (x,)).eval()
    torch.manual_seed(0)
    beside = build(JOINT, {"width": 8, "device.array": 4, "device.node_nm": 7}, (x,)).eval()
    assert list(alone.state_dict()) == list(beside.state_dict())
    assert torch.equal(alone(x), beside(x))


def test_a_choice_of_the_network_may_not_have_a_name_of_the_devices():
    with pytest.raises(UsageError, match="rename it"):
        joined(Space(nn.Sequential(nn.Linear(choose("device.width", 4, 8)))), OPEN)


def searched(tmp_path, name, device, **options):
    options = {"minimize": ["error", "area_mm2"], "trials": 8, "deliver": 1, "seed": 3, "strategy": "random",
               "trial_budget": Budget(steps=2), "full_budget": Budget(steps=2), "space": NETWORK, **options}
    return archfab.search("vision", device=device, run=tmp_path / name, **options)


def test_a_network_that_was_scored_is_not_trained_again_for_another_chip(mine):
    bench = plan("vision", space=NETWORK, device=str(mine), trial_budget=Budget(steps=1))
    first = bench.run(Job("try", Trial(0, {"width": 4, "device.size": 2})))
    bench.estimator.estimate = None         # whoever trains fails
    second = bench.run(Job("try", Trial(1, {"width": 4, "device.size": 3}), {"like": outcome(first)}))
    assert second.kind == "ok" and second.note == "scored as trial 0, the same network"
    assert second.metrics == {**first.metrics, "area_mm2": 3.0}
    assert second.figures == {**first.figures, "area_mm2": second.figures["area_mm2"]}
    assert (first.metrics["area_mm2"], second.figures["area_mm2"]["value"]) == (2.0, 3.0)


def test_scores_are_those_of_as_long_a_training_after_as_many_lessons():
    """A network's score counts for another chip only where it would be scored in the same way."""
    log = Log(plan("toy").spec, [])

    def trial(number, size, fidelity=1.0, kind="ok"):
        made = Trial(number, {"width": 4, "device.size": size}, fidelity=fidelity)
        log.add(Event("asked", made))
        log.add(Event(kind, made, {"error": 0.5}))

    def key(fidelity=1.0):
        return log.network_key(Trial(9, {"width": 4, "device.size": 7}, fidelity=fidelity))

    trial(0, 1, kind="failed")
    assert key() not in log.scored
    trial(1, 2)
    trial(2, 3)
    assert log.scored[key()].trial.number == 1 and key(1 / 3) not in log.scored
    trial(3, 1, fidelity=1 / 3)
    assert log.scored[key(1 / 3)].trial.number == 3
    log.add(Event("lesson", data={"number": 0}))
    assert key() not in log.scored


@pytest.mark.slow
def test_networks_are_trained_once_and_costed_on_every_chip(tmp_path, mine):
    run = searched(tmp_path, "run", str(mine), trials=6)
    rows = [row for row in run.trials() if row["outcome"] == "ok"]
    assert len(rows) == 6
    by_width = {}
    for row in rows:
        assert row["area_mm2"] == row["device.size"]
        by_width.setdefault(row["width"], set()).add(row["error"])
    assert all(len(errors) == 1 for errors in by_width.values())
    assert sum(bool(row["note"]) for row in rows) == 6 - len(by_width)
    assert any("the same network" in row["note"] for row in rows)
    front = run.front
    assert {member.plain()["area_mm2"] for member in front} == {1}
    bundle = run.plain()["front"][0]["bundle"]
    model = archfab.load_model(bundle)
    assert sum(p.numel() for p in model.parameters()) == front[0].plain()["params"]


@pytest.mark.slow
def test_a_resumed_joint_search_ends_with_the_same_log(tmp_path, mine):
    whole = searched(tmp_path, "whole", str(mine), deliver=0)
    for cut in range(2, len(whole.events) - 2, 4):
        store = Store.create(tmp_path / f"cut{cut}", whole.spec, {})
        for event in whole.events[:cut]:
            store.record(event)
        store.close()
        resumed = archfab.resume(tmp_path / f"cut{cut}")
        assert [(row["id"], row["outcome"], row["error"], row["note"]) for row in resumed.trials()] \
            == [(row["id"], row["outcome"], row["error"], row["note"]) for row in whole.trials()]


@pytest.mark.slow
def test_a_run_is_not_resumed_with_other_decisions(tmp_path, mine):
    whole = searched(tmp_path, "whole", str(mine), deliver=0)
    store = Store.create(tmp_path / "cut", whole.spec, whole.environment)
    for event in whole.events[:3]:
        store.record(event)
    store.close()
    mine.write_text(MINE.replace("(1, 2, 3)", "(1, 2)"))
    with pytest.raises(UsageError, match="not the same device numbers"):
        archfab.resume(tmp_path / "cut")


def test_decisions_of_a_device_have_no_gradients(tmp_path, mine):
    with pytest.raises(UsageError, match="decides by gradients"):
        searched(tmp_path, "run", str(mine), strategy="darts", space=None)


def test_decisions_are_refused_where_no_network_could_cost_anything(tmp_path):
    with pytest.raises(UsageError, match="would change nothing"):
        plan("toy", device="tpu-like-open")


def test_a_bundle_is_costed_on_its_chip_and_on_a_device_that_is_what_it_is(tmp_path):
    chip = {"device.array": 8, "device.sram_2MB_kb": 64, "device.node_nm": 7}
    (tmp_path / "bundle.json").write_text(json.dumps({"genotype": {"width": 8, **chip}}))
    made = device_for("tpu-like-open", str(tmp_path), None)
    assert made.architecture.units == 64 and made.silicon.node.name == "7"
    assert device_for("tpu-like", str(tmp_path), None).architecture.units == 1024
    assert device_for("tpu-like-open", str(tmp_path / "network.onnx"), None).architecture.units == 1024
    assert device_for("tpu-like-open", "vision", str(tmp_path / "bundle.json")).architecture.units == 64


@pytest.mark.slow
def test_a_joint_bundle_costs_what_it_says_and_is_derived_again(tmp_path, capsys):
    space = Space(nn.Sequential(nn.ConvNormAct(4, 3, bits=choose("bits", 2, 4)), nn.Classifier(10, bits=4)))
    run = searched(tmp_path, "run", "tpu-like-open", space=space, minimize=["error", "die_cost_usd"], trials=3)
    bundle = run.plain()["front"][0]["bundle"]
    assert cost_of(bundle, "tpu-like-open")["costs"] == json.loads((Path(bundle) / "bundle.json").read_text())["costs"]
    assert replay(bundle)["same"]
    assert run.plain()["different"] <= 2
    show_run(run.plain())
    assert "node_nm" in capsys.readouterr().out


def test_a_device_without_decisions_takes_none():
    device = load_device("tpu-like")
    assert device.decided({}) is device
    with pytest.raises(UsageError, match="has no decisions"):
        device.decided({"array": 8})


def test_an_undecided_chip_is_the_chip_of_the_file_and_a_decided_one_is_another(tmp_path):
    import torch

    from archfab.hardware.tracing import trace
    workload = trace(NETWORK, {"width": 8}, (torch.zeros(1, 1, 8, 8),))
    fixed, open_ = load_device("tpu-like"), load_device("tpu-like-open")
    assert open_.cost(workload).figures == fixed.cost(workload).figures
    same = {"array": 32, "sram_2MB_kb": 2048, "node_nm": 28}
    assert open_.decided(same).cost(workload).figures == fixed.cost(workload).figures
    small = open_.decided({**same, "array": 8, "sram_2MB_kb": 64}).cost(workload).figures
    shrunk = open_.decided({**same, "node_nm": 7}).cost(workload).figures
    before = fixed.cost(workload).figures
    assert small["area_mm2"].value < before["area_mm2"].value and small["cycles"].value > before["cycles"].value
    assert shrunk["area_mm2"].value < before["area_mm2"].value and shrunk["cycles"].value == before["cycles"].value
    assert shrunk["energy_mj"].value < before["energy_mj"].value


@pytest.mark.parametrize(("labels", "said"), [
    ({"array": 5}, "array is one of 4, 8, 16, 32"), ({"arrays": 8}, "did you mean 'array'"),
    ({"node_nm": 90}, "node_nm is one of")])
def test_a_decision_that_is_none_of_the_devices_is_refused(labels, said):
    with pytest.raises(UsageError, match=said):
        load_device("tpu-like-open").decided(labels)


@pytest.mark.parametrize(("given", "said"), [
    ({"arrays": [8]}, "no decision"), ({"array": []}, "list of different numbers"), ({"array": [8, 8]}, "different"),
    ({"array": [8.5]}, "whole numbers"), ({"array": [8], "D1": [4]}, "take one of them"),
    ({"node_nm": [90]}, "no process"), ({"dram_kb": [8]}, "no decision"), ([8], "is a table"),
    ({"sram_2MB_kb": [-1]}, "above 0"), ({"array": [[8]]}, "above 0"), ({"sram_2MB_kb": [float("inf")]}, "above 0"),
    ({"node_nm": [16, 14, 7]}, "are one process")])
def test_wrong_decisions_of_a_device_file_are_refused(given, said):
    numbers = {**registry.load("devices", "tpu-like-open"), "decisions": given}
    with pytest.raises(UsageError, match=said):
        registry.load("cost-models", "accelerator")(numbers)
