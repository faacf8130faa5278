"""On which networks shared weights are trained: what each rule promises."""

import random
from collections import Counter

import pytest

from archfab import Space, choose, nn, registry, repeat
from archfab.estimators import _student
from archfab.sampling._roles import roles
from archfab.sampling.attentive import attended, costed

VISION = registry.load("tasks", "vision")
CELL = Space(nn.nasbench201_cell())
MIXED = Space([choose("width", 4, 8, 12), repeat(choose("depth", 1, 2), lambda i: choose(f"op{i}", "a", "b", "c"))])


class Net:
    def __init__(self, space):
        self.largest = space.fix({name: labels[-1] for name, labels in space.labels.items()})
        self.smallest = space.fix({name: labels[0] for name, labels in space.labels.items()})
        self.defaults = {name: labels[-1] for name, labels in space.labels.items()}


class Student:
    """Notes what it is taught instead of learning it."""

    def __init__(self, space):
        self.space, self.net, self.proposals, self.told, self.memory = space, Net(space), [], [], {}

    def learn(self, genotype, batch, like=None, labels=False, share=1.0):
        self.told.append((dict(genotype), like, labels, share))
        return 1.0, ("answer of", dict(genotype))

    def answer(self, genotype, batch):
        return "answer of", dict(genotype)

    def loss(self, genotype, batch):
        return float(sum(len(str(label)) * i for i, label in enumerate(genotype.values())))

    def macs(self, genotype):
        return 1 + sum(ord(str(label)[0]) for label in genotype.values())

    def can(self, genotype):
        return True

    draw = _student.Student.draw

    def remember(self, name, make):
        return self.memory.setdefault(name, None) or self.memory.__setitem__(name, make()) or self.memory[name]


def teach(name, space=CELL, steps=1, progress=1.0, seed=0, **state):
    student = Student(space)
    vars(student).update(state)
    step, rng = registry.load("sampling", name), random.Random(seed)
    losses = [step(student, "batch", progress, rng) for _ in range(steps)]
    assert losses == pytest.approx([1.0] * steps)
    return student


@pytest.mark.parametrize("name", registry.names("sampling"))
@pytest.mark.parametrize("space", [CELL, MIXED, Space(VISION().space("mobile"))], ids=["cell", "mixed", "mobile"])
@pytest.mark.parametrize("progress", [0.0, 0.4, 0.6, 1.0])
def test_every_rule_teaches_legal_networks_and_shares_that_add_up_to_one(name, space, progress):
    student = teach(name, space, 3, progress)
    for genotype, *_ in student.told:
        space.check(genotype)
    assert sum(share for *_, share in student.told) == pytest.approx(3)
    assert student.told == teach(name, space, 3, progress).told
    if name != "shrinking" or progress == 1:
        assert student.told != teach(name, space, 3, progress, seed=1).told


def test_spos_draws_every_option_of_every_decision_evenly():
    student = teach("spos", steps=2000)
    for name, labels in CELL.labels.items():
        counts = Counter(genotype[name] for genotype, *_ in student.told)
        assert all(abs(counts[label] - 400) < 5 * 18 for label in labels)       # five deviations of a binomial


def test_fairnas_trains_each_option_exactly_once_a_step():
    student = teach("fairnas", steps=7)
    assert len(student.told) == 35
    for start in range(0, 35, 5):
        for name, labels in CELL.labels.items():
            assert sorted(genotype[name] for genotype, *_ in student.told[start:start + 5]) == sorted(labels)


def test_fairnas_goes_round_again_where_a_decision_has_fewer_options():
    student = teach("fairnas", MIXED, steps=300)
    counts = Counter(genotype["depth"] for genotype, *_ in student.told)
    assert len(student.told) == 900 and abs(counts[1] - counts[2]) < 100
    for start in range(0, 900, 3):
        assert {genotype["width"] for genotype, *_ in student.told[start:start + 3]} == {4, 8, 12}


@pytest.mark.parametrize("name", ["sandwich", "attentive"])
def test_a_sandwich_learns_from_the_labels_at_its_largest_and_from_that_below(name):
    student = teach(name, MIXED)
    (largest, like, *_), (smallest, from_, *_), *between = student.told
    assert largest == student.net.largest and like is None
    assert smallest == student.net.smallest and from_ == ("answer of", largest)
    assert len(between) == 2 and all(told[1] == ("answer of", largest) and not told[2] for told in between)


def test_shrinking_opens_one_kind_of_decision_after_the_other():
    space = Space(VISION(size=28).space("mobile"))
    known, opened = roles(space), {}
    for progress in (0.1, 0.4, 0.6, 0.9):
        student = teach("shrinking", space, 60, progress)
        largest = student.net.defaults
        opened[progress] = {known[name] for genotype, *_ in student.told for name, label in genotype.items()
                            if label != largest[name]}
        assert all(like == ("answer of", student.net.largest) and labels for _, like, labels, _ in student.told) \
            or progress == 0.1
    assert opened == {0.1: set(), 0.4: {"part", "kernel"}, 0.6: {"part", "kernel", "depth"},
                      0.9: {"part", "kernel", "depth", "size"}}


def test_attention_goes_to_the_worst_of_networks_of_like_cost():
    student = Student(CELL)
    pool = costed(student)
    assert [cost for cost, _ in pool] == sorted(cost for cost, _ in pool)
    asked = []
    student.loss = lambda genotype, batch: asked.append(genotype) or Student.loss(student, genotype, batch)
    chosen = attended(student, pool, "batch", random.Random(0))
    assert len(asked) == 3 and chosen == max(asked, key=lambda genotype: Student.loss(student, genotype, "batch"))
    costs = [cost for cost, genotype in pool if genotype in asked]
    assert max(costs) - min(costs) < 0.5 * (pool[-1][0] - pool[0][0])


def test_a_policy_trains_what_the_strategy_proposes():
    proposals = [CELL.sample(random.Random(i)) for i in range(4)]
    student = teach("policy", steps=40, proposals=proposals)
    assert {Space.id(genotype) for genotype, *_ in student.told} == {Space.id(genotype) for genotype in proposals}


def test_what_a_decision_decides_is_told_by_where_it_stands():
    space = Space(VISION(size=28).space("mobile"))
    found = roles(space)
    assert found["width"] == "size" and found["stage1.depth"] == "depth" and found["stage1.1.block"] == "part"
    assert found["stage1.1.kernel"] == "kernel" and found["stage2.1.expand"] == "size" and found["head"] == "part"
    assert roles(Space(nn.Conv2d(4, 3, bias=choose("bias", True, False)))) == {"bias": "other"}
