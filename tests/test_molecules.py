"""The molecules task: parts kept apart, lowerings, delivery as ONNX, training that is exact by seed, bad requests."""

import csv
import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from archfab import registry
from archfab.core import Budget, UsageError
from archfab.deliver import check_onnx, export_onnx
from archfab.hardware.workload import record_genotype
from archfab.learning import seed_torch
from archfab.lowering.concrete import build
from archfab.lowering.elastic import Elastic
from archfab.lowering.mixture import Mixture
from archfab.space import Space
from archfab.tasks.molecules import spaces
from archfab.tasks.molecules.data import Dataset, Structure
from archfab.tasks.molecules.embedded import potential
from archfab.tasks.molecules.extxyz import written
from archfab.tasks.molecules.graphs import inputs

Molecules = registry.load("tasks", "molecules")
SMALL = {"r_max": 3.0, "basis": 6, "l_max": 1, "features": 8, "layers": 2, "parity": "natural", "radial.layers": 1,
         "radial.width": 16}


@pytest.fixture(scope="module")
def methane():
    return Molecules()


@pytest.fixture(scope="module")
def nequip(methane):
    return Space(methane.space("nequip"))


def trained(task, space, seed, steps=30):
    rng = random.Random(seed)
    seed_torch(rng)
    model = build(space, SMALL, task.example())
    return model, task.fit(model, Budget(steps=steps), rng)


# --- data

def test_parts_are_disjoint_and_the_same_every_time(methane):
    energies = {name: {each.energy for each in part.structures} for name, part in methane.parts.items()}
    assert [len(part) for part in methane.parts.values()] == [119, 21, 60]
    assert sum(map(len, energies.values())) == 200 == len(set.union(*energies.values()))
    again = Molecules()
    assert all(np.array_equal(one.positions, other.positions)
               for name, part in methane.parts.items()
               for one, other in zip(part.structures, again.parts[name].structures, strict=True))


def test_the_generated_forces_are_differences_of_the_stated_energy(methane):
    positions, h = methane.parts["train"].structures[0].positions, 1e-5
    _, forces = potential(positions)
    for atom, axis in ((0, 0), (1, 2), (4, 1)):
        ends = []
        for step in (h, -h):
            moved = positions.copy()
            moved[atom, axis] += step
            ends.append(potential(moved)[0])
        assert forces[atom, axis] == pytest.approx(-(ends[0] - ends[1]) / (2 * h), abs=1e-6)


def test_a_search_never_touches_test_structures(methane, nequip, monkeypatch):
    monkeypatch.setattr(methane, "parts", {name: part for name, part in methane.parts.items() if name != "test"})
    model, _ = trained(methane, nequip, 0, 5)
    assert methane.score(model)["force_mae"] > 0
    with pytest.raises(KeyError):
        methane.score(model, "test")


def test_train_and_validation_take_as_many_structures_as_are_asked_for():
    task = Molecules(train=30, validation=12)
    assert [len(part) for part in task.parts.values()] == [30, 12, 60] and task.steps_an_epoch == 6
    assert [len(part) for part in Molecules(train=50).parts.values()] == [50, 50, 60]
    assert [len(part) for part in Molecules(train=130).parts.values()] == [130, 10, 60]


def test_constants_give_the_mean_energy_the_scale_and_the_neighbours(methane):
    known = methane.constants
    structures = methane.parts["train"].structures
    said = [sum(dict(zip(known["species"], known["energies"], strict=True))[n] for n in each.numbers)
            for each in structures]
    assert said[0] == pytest.approx(np.mean([each.energy for each in structures]), rel=1e-6)
    assert known["scale"] == pytest.approx(np.sqrt(np.mean([each.forces**2 for each in structures])), rel=1e-5)
    assert known["neighbours"][1] == [3.0, 4.0] and 1.6 < known["neighbours"][0][1] < 2


def test_batches_hold_every_structure_once_and_shares_stay_the_same(methane):
    for part, number in (((0.0, 1.0), 119), ((0.0, 0.5), 60), ((0.5, 1.0), 59)):
        found = [set(torch.cat([batch[1][0] for batch in methane.batches("train", random.Random(seed), part)]).tolist())
                 for seed in (0, 1)]
        assert found[0] == found[1] and len(found[0]) == number


# --- scores and loss

def test_scores_and_loss_equal_sums_by_hand(methane, nequip):
    model, _ = trained(methane, nequip, 0, 5)
    structures = methane.parts["validation"].structures
    with torch.no_grad():
        energy, forces, _ = model(*inputs(structures, 3.0))
    true = np.concatenate([each.forces for each in structures])
    scores = methane.score(model)
    assert scores["force_mae"] == pytest.approx(1e3 * np.abs(forces.numpy() - true).mean())
    assert scores["energy_mae"] == pytest.approx(
        1e3 * np.abs(energy.numpy() - [each.energy for each in structures]).mean() / 5)
    assert scores["force_mae"].low < scores["force_mae"] < scores["force_mae"].high
    assert set(scores) == {"force_mae", "energy_mae"} == set(methane.scores)
    batch = next(methane.batches("train", random.Random(0)))
    answer = methane.answer(model, batch)
    wanted = (((answer[0] - batch[1][0]) / 5) ** 2).mean() + ((answer[1] - batch[1][1]) ** 2).mean()
    assert float(methane.loss(answer, batch).detach()) == pytest.approx(
        float(wanted.detach()) / methane.force_rms**2)
    assert float(methane.distance(answer, answer).detach()) == 0


def test_stresses_count_by_those_that_are_known(methane):
    """One known stress in four structures weighs as it would alone."""
    few, atoms = torch.zeros(4, dtype=torch.float64), torch.full((4,), 5)
    energy, forces, cell = few, torch.zeros(20, 3).double(), 2 * torch.eye(3).double().expand(4, 3, 3)
    off = torch.full((4, 3, 3), 0.5, dtype=torch.float64)
    for known in (torch.tensor([True, False, False, False]), torch.ones(4, dtype=torch.bool)):
        batch = ((None, None, None, None, None, cell), (few, forces, torch.zeros_like(off), known, atoms))
        found = methane.loss((energy, forces, off), batch)
        assert float(found) == pytest.approx((0.5 * 8 / 5) ** 2 / methane.force_rms**2)


def test_training_learns_and_is_exact_by_seed(methane, nequip):
    (one, curve), (other, _), (third, _) = (trained(methane, nequip, seed, 60) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), third.parameters(), strict=True))
    assert methane.score(one)["force_mae"] < 400 < methane.baseline()["free atoms"]["force_mae"]
    assert curve[-1]["epoch"] == 3 and curve[-1]["validation"] == methane.score(one)["force_mae"]


def test_baselines_are_what_they_say(methane):
    found = methane.baseline()
    structures = methane.parts["test"].structures
    assert found["free atoms"]["test_force_mae"] == pytest.approx(
        1e3 * np.mean([np.abs(each.forces).mean() for each in structures]))
    assert found["pair potential"]["test_force_mae"] < 0.2 * found["free atoms"]["test_force_mae"]


# --- spaces and lowerings

@pytest.mark.parametrize("name,small,refused", [("nequip", True, None), ("nequip", False, "mixture"),
                                                ("mace", False, None), ("layers", False, None)])
@pytest.mark.slow
def test_each_space_says_which_lowerings_it_has(methane, name, small, refused):
    space = Space(getattr(spaces, name)(methane.constants, methane.cutoffs, small))
    for lowering in registry.names("lowerings"):
        possible, because = registry.load("lowerings", lowering)(space, methane.example())
        assert possible == (lowering != refused), (lowering, because)
        assert possible or "20,000 parts" in because


@pytest.mark.parametrize("name", ["nequip", "mace", "layers"])
def test_shared_weights_answer_as_the_network_that_is_cut_out_of_them(methane, name):
    space = Space(methane.space(name))
    torch.manual_seed(0)
    shared = Elastic(space, methane.example())
    given = inputs(methane.parts["train"].structures[:3], 3.0)
    for seed in range(4):
        genotype = space.sample(random.Random(seed))
        plain, view = shared.extract(genotype).eval(), shared.at(genotype).eval()
        for one, other in zip(plain(*given), view(*given), strict=True):
            assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)
        loss = sum((part**2).sum() for part in view(*given))
        loss.backward()
    assert sum(weight.grad is not None for weight in shared.parameters()) > 0


def test_a_mixture_of_all_options_answers_with_forces_that_have_gradients(methane):
    space = Space(methane.space("layers"))
    torch.manual_seed(0)
    mixture = Mixture(space, methane.example())
    batch = next(methane.batches("train", random.Random(0)))
    methane.loss(methane.answer(mixture, batch), batch).backward()
    assert all(logits.grad is not None and logits.grad.abs().max() > 0 for logits in mixture.logits)
    genotype = space.sample(random.Random(5))
    mixture.choose(genotype)
    for one, other in zip(mixture(*batch[0]), mixture.elastic.extract(genotype)(*batch[0]), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_workload_has_the_gradient_in_it_and_hangs_on_the_cutoff(methane, nequip):
    near, far = ({**SMALL, "r_max": cutoff} for cutoff in (1.6, 3.0))
    assert methane.example_for(far)[2].shape[1] == 20 > methane.example_for(near)[2].shape[1] > 0
    works = [record_genotype(nequip, genotype, methane.example_for(genotype)) for genotype in (near, far)]
    assert works[0].macs < works[1].macs
    assert {op.name for op in works[1].ops} >= {"bmm", "index_add", "silu_backward", "sigmoid"} - {"sigmoid"}
    params = sum(p.numel() for p in build(nequip, far, methane.example()).parameters())
    assert works[1].params == params


# --- delivery

@pytest.mark.slow
@pytest.mark.parametrize("name,genotype", [
    ("nequip", SMALL),
    ("mace", {"r_max": 3.0, "l_max": 1, "features": 4, "layers": 1, "correlation": 2, "radial.layers": 1,
              "radial.width": 8})])
def test_onnx_says_what_torch_says_for_other_numbers_of_structures(methane, tmp_path, name, genotype):
    model = build(Space(methane.space(name)), genotype, methane.example()).eval()
    export_onnx(methane.exported(model), methane.example_for(genotype, 2), tmp_path / "network.onnx", methane.ports)
    odd = [Structure(np.array([6, 1]), np.array([[0.0, 0, 0], [0.9, 0.3, 0]])), crystal(),
           Structure(np.array([1, 1, 6]), np.array([[0.0, 0, 0], [0.9, 0.3, 0], [0, 1.2, 0.4]]))]
    for given in (methane.inputs(64), methane.inputs(1), inputs(odd, 3.0), inputs(odd[:1], 3.0)):
        assert check_onnx(model, given, tmp_path / "network.onnx") < 1e-4


def crystal():
    return Structure(np.array([6, 1]), np.array([[0.0, 0, 0], [1.2, 1.3, 1.1]]), cell=np.eye(3) * 2.6,
                     periodic=(True,) * 3)


def test_preprocessing_is_plain_data_and_says_what_is_needed(methane):
    said = json.loads(json.dumps(methane.preprocessing()))
    assert said["species"] == ["H", "C"] and said["cutoff"] == 3.0
    assert set(said["inputs"]) == {port.name for port in methane.ports[0]}
    assert set(said["outputs"]) == {port.name for port in methane.ports[1]}


def test_exhibits_show_what_the_network_says_of_test_structures(methane, nequip):
    model, _ = trained(methane, nequip, 0, 5)
    shown = {each.file: each.content.decode() for each in methane.exhibits(model)}
    assert set(shown) == {"parity.svg", "errors-by-element.csv", "predictions.csv", "predictions.xyz"}
    assert shown["parity.svg"].startswith("<svg") and shown["errors-by-element.csv"].count("\n") == 3
    rows = [line.split(",") for line in shown["errors-by-element.csv"].splitlines()[1:]]
    mean = sum(int(row[1]) * float(row[2]) for row in rows) / sum(int(row[1]) for row in rows)
    assert mean == pytest.approx(float(methane.score(model, "test")["force_mae"]), rel=1e-6)


def test_predictions_of_a_file_are_what_the_network_says(methane, nequip, tmp_path):
    from archfab.tasks.molecules.data import read_structures
    models = [trained(methane, nequip, seed, 5)[0] for seed in (0, 1)]
    structures = methane.parts["test"].structures[:7]
    first = {each.file: each for each in methane.exhibits(models[0])}["predictions.xyz"]
    (tmp_path / "some.xyz").write_bytes(first.content)
    alone, pair = ({each.file: each.content.decode() for each in Molecules.predict(
        some, methane.preprocessing(), str(tmp_path / "some.xyz"))} for some in (models[:1], models))
    (tmp_path / "said.xyz").write_text(alone["predictions.xyz"])
    again = read_structures(tmp_path / "said.xyz").train
    with torch.no_grad():
        energy, forces, _ = models[0](*inputs(structures, 3.0))
    assert [each.energy for each in again[:7]] == pytest.approx(energy.tolist(), rel=1e-6)
    assert np.allclose(np.concatenate([each.forces for each in again[:7]]), forces.numpy(), atol=1e-6)
    assert alone["predictions.csv"].splitlines()[0].count(",") == 4
    ranks = sorted(int(line.split(",")[-1]) for line in pair["predictions.csv"].splitlines()[1:])
    assert ranks == list(range(1, 61))
    (tmp_path / "other.xyz").write_text("2\nProperties=species:S:1:pos:R:3\nN 0 0 0\nN 0 0 1.1\n")
    with pytest.raises(UsageError, match=r"other.xyz: frame 0 .*have not learned N"):
        list(Molecules.predict(models, methane.preprocessing(), str(tmp_path / "other.xyz")))


def test_an_ensemble_chooses_what_to_label_next(methane, nequip, tmp_path):
    models = [trained(methane, nequip, seed, 5)[0] for seed in (0, 1)]
    plain = [Structure(each.numbers, each.positions) for each in methane.parts["test"].structures[:9]]
    (tmp_path / "pool.xyz").write_text(written([*plain, plain[0]]))

    def ask(some=models, **options):
        return {each.file: each.content.decode() for each in Molecules.predict(
            some, {}, str(tmp_path / "pool.xyz"), **options)}

    assert "chosen.xyz" not in ask()
    found = ask(choose=3, diversity=0.0)
    rows = list(csv.DictReader(found["predictions.csv"].splitlines()))
    first = [row["frame"] for row in sorted(rows, key=lambda row: int(row["rank"]))[:3]]
    order = {row["chosen"]: int(row["frame"]) for row in rows if row["chosen"]}
    assert [str(order[place]) for place in "123"] == first
    assert found["chosen.xyz"] == written([[*plain, plain[0]][order[place]] for place in "123"])
    assert "energy=" not in found["chosen.xyz"]
    frames = [int(row["frame"]) for row in csv.DictReader(ask(choose=9)["predictions.csv"].splitlines())
              if row["chosen"]]
    assert len({0, 9} & set(frames)) == 1                   # copies of each other
    with pytest.raises(UsageError, match="one network has nothing to disagree with"):
        ask(models[:1], choose=3)
    with pytest.raises(UsageError, match="has 10 structures, fewer than the 11"):
        ask(choose=11)
    for wrong in ({"choose": -1}, {"diversity": 2.0}):
        with pytest.raises(UsageError, match="diversity a share"):
            ask(**wrong)
    assert ask(units="Hartree,Angstrom")["predictions.xyz"] == ask()["predictions.xyz"]
    with pytest.warns(UserWarning, match="are lengths in Angstrom and read as Bohr"):
        ask(units="eV,Bohr")
    folder = tmp_path / "both"
    folder.mkdir()
    for name in ("train.xyz", "test.xyz"):
        (folder / name).write_text(written(plain))
    with pytest.raises(UsageError, match="name the one to ask about"):
        list(Molecules.predict(models, {}, str(folder)))


# --- bad requests

@pytest.mark.parametrize("wrong", [
    {"dtype": "float16"}, {"energy_weight": -1.0}, {"energy_weight": 0.0, "force_weight": 0.0}, {"train": -1},
    {"train": 139, "validation": 40}, {"cutoffs": "far"}, {"cutoffs": "-1"}, {"cutoffs": "0.7,3"}, {"lr": -1.0},
    {"data": "no such file.xyz"}, {"test": "some.xyz"}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(UsageError):
        Molecules(**wrong)


def test_structures_without_forces_and_species_that_are_not_learned_are_refused(monkeypatch, methane):
    known = methane.dataset
    far = replace(known.train[17], positions=known.train[17].positions + np.eye(5)[4][:, None] * 9)
    for train, test, words in (
            ([*known.train[:17], far, *known.train[18:]], None, r"^train frame 17 .*atom 4 \(H"),
            ([Structure(each.numbers, each.positions, energy=0.0) for each in known.train], None, "no forces"),
            (known.train, [Structure(np.array([7, 1]), np.array([[0.0, 0, 0], [1, 0, 0]]), energy=0.0,
                                     forces=np.zeros((2, 3)))], "^test frame 0 .*element N")):
        found = Dataset(train, test, "made up")
        monkeypatch.setattr("archfab.tasks.molecules.read_structures", lambda *_, found=found, **__: found)
        with pytest.raises(UsageError, match=words):
            Molecules(data="made-up.xyz")


def test_copies_of_training_structures_among_those_scored_on_are_warned_of(monkeypatch, methane):
    known = methane.dataset
    found = Dataset(known.train, [*known.test, *map(replace, known.train)], "made up")
    monkeypatch.setattr("archfab.tasks.molecules.read_structures", lambda *_, **__: found)
    with pytest.warns(UserWarning, match=r"^119 structures .* test frame \d+ .* is train frame \d+ "):
        Molecules(data="made-up.xyz")


# --- the data of the papers

@pytest.mark.shared
def test_ethanol_is_read_in_electronvolts(shared_data):
    task = Molecules(data=str(shared_data / "rmd17-ethanol"), train=50)
    assert [len(part) for part in task.parts.values()] == [50, 50, 1000]
    assert task.force_rms == pytest.approx(27.5 * 0.0433641, rel=0.06)
    assert 300 < (task.budget().steps or 0) < 2000


@pytest.mark.shared
def test_silicon_has_stresses_and_a_score_of_them(shared_data):
    task = Molecules(data=str(shared_data / "mlearn-si"), train=20, validation=2, cutoffs="3.5")
    space = Space(task.space("nequip"))
    model = build(space, space.fix({**SMALL, "r_max": 3.5}, random.Random(0)), task.example())
    assert task.scores == ("force_mae", "energy_mae", "stress_mae")
    scores = task.score(model)
    assert set(scores) == set(task.scores) and 0 < scores["stress_mae"] < 100
    batch = next(task.batches("train", random.Random(0)))
    answer = task.answer(model, batch)
    off = (answer[2] - batch[1][2]) * torch.linalg.det(batch[0][5])[:, None, None] / batch[1][4][:, None, None]
    without = Molecules(data=str(shared_data / "mlearn-si"), train=20, validation=2, cutoffs="3.5", stress_weight=0.0)
    assert float((task.loss(answer, batch) - without.loss(answer, batch)).detach()) == pytest.approx(
        float((off.detach() ** 2).mean()) / task.force_rms**2, rel=1e-4)


@pytest.mark.shared
@pytest.mark.slow
def test_vectors_learn_more_from_fifty_structures_than_scalars_do(shared_data):
    task = Molecules(data=str(shared_data / "rmd17-ethanol"), train=50, cutoffs="4")
    space, errors = Space(task.space("nequip")), []
    for degree in (0, 1):
        rng = random.Random(0)
        seed_torch(rng)
        model = build(space, space.fix({**SMALL, "r_max": 4.0, "features": 16, "layers": 3, "l_max": degree}, rng),
                      task.example())
        task.fit(model, Budget(steps=400), rng)
        errors.append(task.score(model, "test")["force_mae"])
    assert errors[1].high < errors[0].low


@pytest.mark.slow
def test_the_command_line_searches_delivers_and_derives_again(archfab):
    found = archfab("search", "molecules", "--strategy", "evolution", "--trials", 2, "--steps", 20, "--full-steps", 40,
                    "--no-random", "--deliver", 1, "--device", "cortex-m7", "--run", "one", "--json").json
    front = next(each for each in found["front"] if "bundle" in each)
    assert found["failed"] == 0 and front["test_force_mae"] > 0 and front["latency_ms"] > 0
    assert set(found["baseline"]) == {"free atoms", "pair potential"}
    assert archfab("replay", front["bundle"], "--json").json["same"]
