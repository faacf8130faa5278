"""What every task keeps, whatever its networks are: on its built-in data, from the space to the bundle."""

import json
import math
import random

import onnxruntime
import pytest
import torch
from driving import Stop, log
from torch.utils import _pytree as pytree

import archfab
from archfab import registry
from archfab.core import Budget
from archfab.deliver import load_model, replay
from archfab.learning import seed_torch
from archfab.lowering.concrete import build
from archfab.space import as_space
from archfab.space.report import report

NAMES = [name for name in registry.names("tasks") if registry.load("tasks", name).estimator == "training"]
SPACES = [pytest.param(name, space, marks=pytest.mark.slow if i else ()) for name in NAMES
          for i, space in enumerate(registry.load("tasks", name).spaces)]
SHORT = {"trial_budget": Budget(steps=2), "full_budget": Budget(steps=3), "threads": 1}
_made = {}


def task_of(name):
    """A task on the data that come with it; made once, as it is never changed."""
    if name not in _made:
        _made[name] = registry.load("tasks", name)()
    return _made[name]


@pytest.fixture(scope="module", params=[pytest.param(name, marks=[] if name == "vision" else [pytest.mark.slow])
                                        for name in NAMES])
def run(request, tmp_path_factory):
    return archfab.search(request.param, strategy="random", device="cortex-m7", trials=2, deliver=1,
                          run=tmp_path_factory.mktemp(request.param) / "one", **SHORT)


@pytest.mark.parametrize("name", registry.names("tasks"))
def test_every_option_says_what_it_means(name):
    task = registry.load("tasks", name)
    for option in registry.options(task) + registry.options(task.predict):
        assert option["about"], f"{name} {option['name']}"


@pytest.mark.parametrize("name", NAMES)
def test_goals_are_among_the_scores(name):
    task = task_of(name)
    assert set(task.goals) <= set(task.scores) and task.recipe


@pytest.mark.parametrize(("name", "space"), SPACES)
def test_networks_of_every_space_can_be_built_and_costed(name, space):
    from archfab.evaluate import load_device
    from archfab.hardware.workload import record_genotype
    task, declared = task_of(name), as_space(task_of(name).space(space))
    said = report(declared, task.example())
    assert said["lowerings"]["concrete"]["ok"], said["lowerings"]["concrete"]["because"]
    assert all(found["because"] for found in said["lowerings"].values())
    rng = random.Random(0)
    for _ in range(3):
        genotype = declared.sample(rng)
        workload = record_genotype(declared, genotype, task.example_for(genotype))
        costs = load_device("cortex-m7").cost(workload)
        assert workload.macs > 0 and costs.figures["latency_ms"].value > 0
        outputs = build(declared, genotype, task.example()).eval()(*task.example_for(genotype, 2))
        assert all(torch.isfinite(x).all() for x in pytree.tree_leaves(outputs))


@pytest.mark.parametrize(("name", "space"), SPACES)
def test_training_follows_from_its_seed_and_gives_every_score(name, space):
    task, declared = task_of(name), as_space(task_of(name).space(space))
    genotype = declared.sample(random.Random(1))
    weights = []
    for seed in (3, 3, 4):
        rng = random.Random(seed)
        seed_torch(rng)
        model = build(declared, genotype, task.example())
        curve = task.fit(model, Budget(steps=2), rng)
        assert curve and all(math.isfinite(row["loss"]) and "validation" in row for row in curve)
        weights.append(torch.cat([w.detach().flatten() for w in model.parameters()]))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    for split in ("validation", "test"):
        scores = task.score(model, split)
        assert set(task.scores) <= set(scores) and all(math.isfinite(value) for value in scores.values())
        assert task.score(model, split) == scores, "scoring changes nothing"


@pytest.mark.parametrize(("name", "space"), SPACES)
def test_all_of_a_network_lies_where_its_shared_weights_do(name, space):
    """On an accelerator too, here one without memory: networks that were built before the weights went there, and
    networks that are built from them then."""
    from archfab.lowering.elastic import Elastic
    task, declared = task_of(name), as_space(task_of(name).space(space))
    if not report(declared, task.example())["lowerings"]["elastic"]["ok"]:
        with pytest.raises(archfab.UsageError):     # as the report says, no weights are shared here
            Elastic(declared, task.example())
        return
    shared, rng = Elastic(declared, task.example()), random.Random(0)
    before = [shared.at(declared.sample(rng)) for _ in range(6)]
    shared.to("meta")
    for network in [*before, *(shared.at(declared.sample(rng)) for _ in range(6))]:
        held = [*network.parameters(), *network.buffers(), *(tensor for part in network.modules()
                for tensor in vars(part).values() if isinstance(tensor, torch.Tensor))]
        assert held and {tensor.device.type for tensor in held} == {"meta"}


def test_baselines_have_the_goal_on_both_splits(run):
    goal = next(iter(run.spec.objectives))
    assert run.baseline
    assert all({goal, f"test_{goal}"} <= set(scores) for scores in run.baseline.values())


def test_a_network_is_delivered_with_what_it_shows(run):
    member = next(m for m in run.front if m.delivered)
    delivered = member.delivered
    assert "exhibits_failed" not in delivered, delivered["exhibits_failed"]
    files = [each["file"] for each in delivered.get("exhibits", ())]
    assert len(set(files)) == len(files) and all((member.bundle / file).stat().st_size for file in files)
    assert all(each["about"] for each in delivered.get("exhibits", ()))
    json.dumps(json.loads((member.bundle / "bundle.json").read_text())["preprocessing"], allow_nan=False)
    assert "Traceback" not in run.report().read_text()


def test_the_exported_network_has_the_ports_that_its_task_names(run):
    member = next(m for m in run.front if m.delivered)
    task, session = task_of(run.spec.task), onnxruntime.InferenceSession(member.bundle / "network.onnx")
    assert [slot.name for slot in session.get_inputs()] == [port.name for port in task.ports[0]]
    assert [slot.name for slot in session.get_outputs()] == [port.name for port in task.ports[1]]
    model = load_model(member.bundle)
    for number in (1, 3):
        inputs = task.inputs(number)
        found = session.run(None, {port.name: x.numpy() for port, x in zip(task.ports[0], inputs, strict=True)})
        with torch.no_grad():
            ours = pytree.tree_leaves(model(*inputs))
        for our, their in zip(ours, found, strict=True):
            assert torch.allclose(our, torch.from_numpy(their), atol=1e-4 * float(our.abs().max()) + 1e-7)


def test_a_bundle_is_derived_again_to_the_last_bit(run):
    member = next(m for m in run.front if m.delivered)
    found = replay(member.bundle)
    assert found["same"], found["differences"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_run_goes_on_to_the_same_end(name, tmp_path):
    asked = {"strategy": "evolution", "trials": 3, "deliver": 1, "random": False, **SHORT}
    archfab.search(name, run=tmp_path / "whole", **asked)
    with pytest.raises(KeyboardInterrupt):
        archfab.search(name, run=tmp_path / "one", watcher=Stop("ok", 2), **asked)
    archfab.resume(tmp_path / "one")
    assert log(tmp_path / "one") == log(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["random", "evolution", "reinforce", "auto", "hyperband"])
@pytest.mark.parametrize("name", NAMES)
def test_strategies_see_no_difference_between_tasks(name, strategy, tmp_path):
    run = archfab.search(name, strategy=strategy, trials=4, deliver=0, random=False, run=tmp_path / "one", **SHORT)
    assert run.count("search", "ok") >= 4 and run.front


@pytest.mark.slow
@pytest.mark.parametrize(("name", "space"), SPACES)
def test_weights_are_shared_wherever_the_space_says_that_they_can_be(name, space, tmp_path):
    """What a space's report promises is kept; what it refuses is refused before the start, with the same reason."""
    said = report(as_space(task_of(name).space(space)), task_of(name).example())["lowerings"]
    for lowering, strategy, options in (("elastic", "random", {"estimator": "supernet", "options": {"lessons": 1}}),
                                        ("mixture", "gdas", {"options": {"lessons": 1, "warm": 0.0}})):
        asked = {"space": space, "strategy": strategy, "trials": 1, "deliver": 0, "random": False,
                 "run": tmp_path / lowering, "trial_budget": Budget(steps=2), "threads": 1, **options}
        if said[lowering]["ok"]:
            assert archfab.search(name, **asked).count("search", "ok") == 1
        else:
            with pytest.raises(archfab.UsageError) as refused:
                archfab.search(name, **asked)
            assert said[lowering]["because"] in str(refused.value)
