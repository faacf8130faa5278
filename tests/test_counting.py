"""Exact counting: published sizes, entangled decisions, and what happens where counting is given up."""

import random
from collections import Counter as Tally
from functools import partial
from itertools import product as pairs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfab import Space, UsageError, choose, nn, repeat
from archfab.space.counting import Counter, Intractable

FEW = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def rng(seed=0):
    return random.Random(seed)


# --- published figures

def test_nas_bench_201_has_15625_cells():
    assert Space(nn.nasbench201_cell()).size == 5**6 == 15_625
    assert Space([nn.nasbench201_cell() for _ in range(15)]).size == 15_625


def test_the_darts_normal_cell_has_1_037_664_180_architectures():
    cells = [nn.darts_cell(width, "normal") for width in (16, 32)]
    assert Space(cells[0]).size == Space(cells).size == 1_037_664_180
    assert Space([*cells, nn.darts_cell(16, "reduce", reduce=True)]).size == 1_037_664_180**2 > 10**18


# --- entangled decisions

def chain(length):
    """Each switch opens its own decision and its right neighbour's: no two of them are independent."""
    values = [choose(f"x{i}", 0, 1, 2) for i in range(length + 1)]
    return [choose(f"s{i}", off=0, on=[values[i], values[i + 1]]) for i in range(length)]


def count_of_chain(length):
    total = 0
    for switches in pairs((0, 1), repeat=length):
        opened = {i + d for i, on in enumerate(switches) if on for d in (0, 1)}
        total += 3 ** len(opened)
    return total


@pytest.mark.parametrize("length", [1, 2, 5, 9])
def test_switches_that_share_decisions_with_their_neighbours(length):
    assert Space(chain(length)).size == count_of_chain(length)


def transfer(length):
    """The same count by a transfer over the switches, for lengths beyond enumeration."""
    off, on = 1, 9
    for _ in range(length - 1):
        off, on = off + on, off * 9 + on * 3
    return off + on


def test_a_long_chain_of_switches_is_counted_exactly():
    assert transfer(9) == count_of_chain(9)
    space = Space(chain(40))
    assert space.size == transfer(40) > 10**28
    space.check(space.sample(rng()))


@pytest.mark.parametrize("seed", range(6))
def test_randomly_entangled_switches(seed):
    source = rng(seed)
    values = [choose(f"x{i}", *range(source.randint(1, 3))) for i in range(6)]
    opened = [{label: source.sample(range(6), source.randint(0, 3)) for label in "pqr"} for _ in range(4)]
    space = Space([choose(f"s{i}", **{label: [values[k] for k in inside] for label, inside in each.items()})
                   for i, each in enumerate(opened)])
    expected = 0
    for labels in pairs("pqr", repeat=4):
        here = 1
        for k in {k for each, label in zip(opened, labels, strict=True) for k in each[label]}:
            here *= len(values[k].options)
        expected += here
    assert space.size == expected == len({space.id(genotype) for genotype in space})


def test_one_depth_that_rules_repeats_in_several_places():
    depth = choose("depth", 1, 2, 3)
    space = Space([repeat(depth, lambda i: choose(f"a{i}", 1, 2)), repeat(depth * 2, lambda i: choose(f"b{i}", 1, 2)),
                   repeat(4 - depth, lambda i: choose(f"c{i}", 1, 2))])
    assert space.size == sum(2 ** (d + 2 * d + 4 - d) for d in (1, 2, 3))


def test_a_decision_that_stands_at_the_root_and_below_options_is_one_decision():
    k = choose("k", 1, 2, 3)
    assert Space([choose("a", p=k, q=0), choose("b", p=[k, choose("x", 1, 2)], q=k), k]).size == 2 * (2 + 1) * 3


# --- laws

def spread(name, sizes):
    """A conditional space with sum(sizes) architectures under names of its own."""
    return choose(name, **{f"o{i}": choose(f"{name}{i}", *range(n)) for i, n in enumerate(sizes)})


SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@FEW
@given(SIZES, SIZES)
def test_independent_decisions_multiply_and_exclusive_ones_add(one, other):
    a, b = spread("a", one), spread("b", other)
    assert Space([a, b]).size == sum(one) * sum(other)
    assert Space(choose("top", left=a, right=b)).size == sum(one) + sum(other)


@FEW
@given(SIZES, SIZES, st.data())
def test_numbers_name_architectures_one_to_one(one, other, data):
    space = Space([spread("a", one), choose("top", left=spread("b", other), right=spread("c", one))])
    found = {space.id(space.counter.at(i)) for i in range(space.size)}
    assert len(found) == space.size
    space.check(space.counter.at(data.draw(st.integers(0, space.size - 1))))


@pytest.mark.parametrize("root", [[], 5, nn.ReLU(), choose("a", 1), choose("a", x=choose("b", 2))])
def test_a_space_without_alternatives_has_one_architecture(root):
    space = Space(root)
    assert space.size == 1 == len(list(space))
    assert space.sample(rng()) == next(iter(space)) == space.counter.at(0)


# --- where counting is given up

@pytest.fixture
def given_up(monkeypatch):
    """A space that is counted in more steps than allowed here."""
    monkeypatch.setattr("archfab.space.space.Counter", partial(Counter, most=3))
    return Space(chain(6))


def test_a_space_that_cannot_be_counted_says_so(given_up):
    assert given_up.counter is None
    assert given_up.sampling == "uniform decision by decision"
    for use in (lambda: given_up.size, lambda: iter(given_up), lambda: list(given_up)):
        with pytest.raises(UsageError, match="too entangled to be counted exactly"):
            use()


def test_a_space_that_can_be_counted_says_so():
    assert Space(chain(6)).sampling == "uniform over architectures"


def test_samples_are_legal_and_changes_too_where_counting_was_given_up(given_up):
    source = rng()
    genotypes = [given_up.sample(source) for _ in range(200)]
    for genotype in genotypes:
        given_up.check(genotype)
        given_up.check(given_up.mutate(genotype, source))
    assert len({given_up.id(genotype) for genotype in genotypes}) > 150
    on = Tally(genotype[f"s{i}"] for genotype in genotypes for i in range(6))["on"]
    assert on / 1200 == pytest.approx(0.5, abs=0.06)        # as `sampling` says: decision by decision


def test_samples_where_counting_was_given_up_are_seeded(given_up):
    assert given_up.sample(rng(1)) == given_up.sample(rng(1)) != given_up.sample(rng(2))


def test_decisions_nested_too_deep_to_count_fall_back(monkeypatch):
    def refuse(*_):
        raise RecursionError

    monkeypatch.setattr("archfab.space.space.Counter", refuse)
    assert Space(chain(2)).sampling == "uniform decision by decision"


def test_a_space_nested_beyond_pythons_stack_is_refused_or_works():
    space = choose("a0", 1, 2)
    for i in range(1, 600):
        space = choose(f"a{i}", stop=0, on=space)
    try:
        assert Space(space).size == 601
    except UsageError as error:
        assert "nested" in str(error)


def test_counting_ends_at_its_bound():
    source = rng()
    values = [choose(f"x{i}", 0, 1, 2) for i in range(30)]
    space = Space([choose(f"s{i}", **{label: source.sample(values, 6) for label in "pqr"}) for i in range(30)])
    with pytest.raises(Intractable):
        Counter(space.roots, most=200)
