"""Spaces of decisions, held against a brute-force enumeration that shares no code with them."""

import hashlib
import json
import operator
import os
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from archfab import Space, UsageError, choose, describe, maximum, minimum, nn, repeat
from archfab.core import canonical
from archfab.space.choices import evaluate
from archfab.space.report import conditions, uncovered

FEW = settings(max_examples=100, deadline=None, derandomize=True, database=None,
               suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
MOST = 1500     # architectures of a random space


def rng(seed=0):
    return random.Random(seed)


def chi_square(counts, cells):
    expected = sum(counts.values()) / cells
    return sum((counts[key] - expected) ** 2 / expected for key in counts) + expected * (cells - len(counts))


# --- an independent model: a space as nested tuples, and its genotypes by following the definition

def first_open(part, taken, pool):
    """The first decision that a network with the decisions `taken` has and that is not yet taken."""
    kind, *rest = part
    if kind == "choice":
        name = rest[0]
        return name if name not in taken else first_open(pool[name][taken[name]], taken, pool)
    if kind == "repeat":
        count, items = rest
        found = first_open(count, taken, pool)
        rest = () if found else items[:value_of(count, taken)]
        return found or next(filter(None, (first_open(item, taken, pool) for item in rest)), None)
    if kind in ("list", "min", "max", "+", "*"):
        return next(filter(None, (first_open(item, taken, pool) for item in rest)), None)
    return None


def value_of(count, taken):
    kind, *rest = count
    if kind == "number":
        return rest[0]
    if kind == "choice":
        return taken[rest[0]]
    one, other = (value_of(part, taken) for part in rest)
    return {"min": min, "max": max, "+": operator.add, "*": operator.mul}[kind](one, other)


def enumerate_all(part, pool, taken=None):
    """Every genotype once, by deciding whatever is open until nothing is."""
    taken = taken or {}
    name = first_open(part, taken, pool)
    if name is None:
        yield taken
        return
    for label in pool[name]:
        yield from enumerate_all(part, pool, {**taken, name: label})


def declare(part, pool, shared):
    """The same space in archfab's words; a choice is one object or, when not `shared`, a new one each time."""
    kind, *rest = part
    if kind == "number":
        return rest[0]
    if kind == "choice":
        return declare_choice(rest[0], pool, shared)
    if kind == "repeat":
        count, items = rest
        return repeat(declare(count, pool, shared), lambda i: declare(items[i], pool, shared))
    inside = [declare(item, pool, shared) for item in rest]
    words = {"list": lambda *parts: list(parts), "min": minimum, "max": maximum, "+": operator.add,
             "*": operator.mul}
    return words[kind](*inside)


def declare_choice(name, pool, shared):
    if shared is not None and name in shared:
        return shared[name]
    options = pool[name]
    if all(isinstance(label, int) for label in options):
        made = choose(name, *options)
    else:
        made = choose(name, **{label: declare(option, pool, shared) for label, option in options.items()})
    if shared is not None:
        shared[name] = made
    return made


@st.composite
def counts(draw, numbers):
    """How often something is repeated: a number, a choice of numbers, or arithmetic on them."""
    atoms = [*(("choice", name) for name in numbers), ("number", 2)]
    one, other = draw(st.sampled_from(atoms)), draw(st.sampled_from([*atoms, ("number", 1)]))
    kind = draw(st.sampled_from(["plain", "min", "max", "+", "*"]))
    return one if kind == "plain" or one[0] == other[0] == "number" else (kind, one, other)


@st.composite
def bodies(draw, pool, depth=1):
    """What an option holds: one decision, several, a repeat of some, or nothing."""
    kind = draw(st.sampled_from(["choice", "list", "repeat", "list", "number"] if depth else ["choice"]))
    if kind == "number":
        return ("number", 0)
    if kind == "choice":
        return ("choice", draw(st.sampled_from(sorted(pool, reverse=True))))
    if kind == "list":
        return ("list", *draw(st.lists(bodies(pool, depth - 1), min_size=2, max_size=3)))
    numbers = [name for name, options in pool.items() if isinstance(next(iter(options)), int)]
    items = draw(st.lists(bodies(pool, depth - 1), min_size=4, max_size=4))
    return ("repeat", draw(counts(numbers)), items)


@st.composite
def models(draw, separate=True, arithmetic=True):
    """A random conditional space as declared, and all of its genotypes; later names hold earlier ones.

    Where `separate`, half of them declare a choice anew wherever it stands, as a function that makes one does.
    """
    pool = {}
    for name in "abcdefg"[:draw(st.integers(3, 7))]:
        if len(pool) < 2 or draw(st.integers(0, 3)) == 3:
            values = draw(st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True))
            pool[name] = dict.fromkeys(values, ("number", 0))
        else:
            pool[name] = {label: draw(bodies(pool)) for label in "pqr"[:draw(st.integers(1, 3))]}
    root = ("list", *draw(st.lists(bodies(pool), min_size=1, max_size=3)))
    every = list(islice(enumerate_all(root, pool), MOST + 1))
    assume(len(every) <= MOST)
    declared = declare(root, pool, None if separate and draw(st.booleans()) else {})
    assume(arithmetic or '"expr"' not in json.dumps(Space(declared).data))
    return declared, every


def frozen(genotypes):
    return {frozenset(genotype.items()) for genotype in genotypes}


# --- the space of the design

WIDTH = choose("width", 16, 24, 32)


def block(i):
    return choose(f"block{i}",
                  skip=nn.Identity(),
                  mbconv=nn.MBConv(WIDTH, kernel=choose(f"kernel{i}", 3, 5, 7), expand=choose(f"expand{i}", 3, 6)))


@pytest.fixture(scope="module")
def design():
    return Space(nn.Sequential(nn.ConvNormAct(WIDTH, 3, stride=2), repeat(choose("depth", 2, 3, 4), block),
                               nn.ConvNormAct(WIDTH * 2, 1), nn.Classifier(classes=10)))


@pytest.fixture(scope="module")
def small():
    """17 architectures, of which deciding one by one would draw `none` every second time."""
    return Space(choose("op", none=0, many=[choose("a", 1, 2, 3, 4), choose("b", 1, 2, 3, 4)]))


def test_the_design_space_counts_what_brute_force_counts(design):
    def values(*labels):
        return dict.fromkeys(labels, ("number", 0))

    pool = {"width": values(16, 24, 32), "depth": values(2, 3, 4)}
    for i in range(4):
        inside = ("list", ("choice", f"kernel{i}"), ("choice", f"expand{i}"))
        pool |= {f"block{i}": {"skip": ("number", 0), "mbconv": inside}, f"kernel{i}": values(3, 5, 7),
                 f"expand{i}": values(3, 6)}
    blocks = [("choice", f"block{i}") for i in range(4)]
    root = ("list", ("choice", "width"), ("repeat", ("choice", "depth"), blocks))
    every = frozen(enumerate_all(root, pool))
    assert design.size == len(every) == 3 * (7**2 + 7**3 + 7**4)
    assert frozen(design) == every


def test_a_genotype_of_the_design_space_has_exactly_its_decisions(design):
    design.check({"width": 24, "depth": 2, "block0": "skip", "block1": "mbconv", "kernel1": 5, "expand1": 6})


@FEW
@given(models())
def test_size_and_iteration_agree_with_brute_force(model):
    root, every = model
    space = Space(root)
    listed = list(space)
    assert space.size == len(every) == len(frozen(every))
    assert len(listed) == len(every) and frozen(listed) == frozen(every)
    for genotype in islice(listed, 20):
        space.check(genotype)


def test_a_choice_inside_the_count_of_a_repeat_is_open_only_where_it_was_taken():
    space = Space(repeat(choose("depth", few=choose("n", 1, 2), many=3), lambda i: choose(f"k{i}", 0, 1)))
    assert space.size == 2 + 4 + 8
    space.check({"depth": "many", "k0": 0, "k1": 0, "k2": 1})


def test_a_choice_that_an_expression_uses_is_a_decision():
    assert Space(nn.Conv2d(choose("a", 1, 2) * choose("b", 3, 4), 3)).labels == {"a": (1, 2), "b": (3, 4)}


# --- sample

def test_sample_is_uniform_over_architectures(small):
    small, draws, source = Space([small.root]), 3400, rng(1)        # not a choice of whole networks
    seen = Counter(small.id(small.sample(source)) for _ in range(draws))
    assert chi_square(seen, small.size) < 45        # 16 degrees of freedom: p = 0.0001
    naive = Counter(small.id(small.walk(lambda node: source.choice(small.labels[node.name]))) for _ in range(draws))
    assert chi_square(naive, small.size) > 1000


def test_sample_is_uniform_where_names_are_shared_between_branches():
    k = choose("k", 1, 2, 3)
    space = Space([choose("one", off=0, on=[k, choose("x", 1, 2)]), choose("two", off=0, on=k)])
    assert space.size == 1 + 3 * 2 + 3 + 3 * 2
    source = rng(2)
    seen = Counter(space.id(space.sample(source)) for _ in range(3200))
    assert chi_square(seen, space.size) < 44


def huge():
    def stage(s):
        return repeat(choose(f"depth{s}", 1, 2, 3, 4), lambda i: choose(
            f"op{s}.{i}", skip=0, conv=[choose(f"kernel{s}.{i}", 3, 5, 7), choose(f"expand{s}.{i}", 3, 6)]))

    return Space([stage(s) for s in range(10)])


def test_a_huge_space_is_counted_exactly_and_sampled():
    space = huge()
    assert space.size == (7 + 7**2 + 7**3 + 7**4) ** 10 > 10**30
    source = rng()
    drawn = [space.sample(source) for _ in range(300)]
    for genotype in drawn:
        space.check(genotype)
    assert len({space.id(genotype) for genotype in drawn}) == 300
    deepest = sum(genotype[f"depth{s}"] == 4 for genotype in drawn for s in range(10)) / 3000
    assert deepest == pytest.approx(7**4 / 2800, abs=0.03)


def test_the_same_seed_gives_the_same_and_another_seed_another(design):
    def all_of(seed):
        source = rng(seed)
        one, other = design.sample(source), design.sample(source)
        return [one, other, design.mutate(one, source), design.crossover(one, other, source), design.fix({}, source)]

    assert all_of(3) == all_of(3)
    assert all(a != b for a, b in zip(all_of(3), all_of(4), strict=True))


# --- mutate, crossover, neighbours

def changed(one, other):
    return [name for name in one if name in other and one[name] != other[name]]


@FEW
@given(models(), st.integers(0, 9))
def test_mutation_changes_one_decision_and_what_hangs_on_it(model, seed):
    space, every = Space(model[0]), model[1]
    source = rng(seed)
    for genotype in source.sample(every, min(8, len(every))):
        before = dict(genotype)
        child = space.mutate(genotype, source)
        space.check(child)
        assert len(changed(genotype, child)) == any(len(space.labels[name]) > 1 for name in genotype)
        assert genotype == before


def test_mutation_changes_every_decision_equally_often(design):
    genotype = {"width": 24, "depth": 2, "block0": "skip", "block1": "mbconv", "kernel1": 5, "expand1": 6}
    source = rng()
    names = Counter(changed(genotype, design.mutate(genotype, source))[0] for _ in range(1200))
    assert set(names) == set(genotype) and chi_square(names, 6) < 26    # 5 degrees of freedom: p = 0.0001


def test_mutation_draws_what_it_opens(design):
    genotype = {"width": 24, "depth": 2, "block0": "skip", "block1": "skip"}
    source = rng()
    opened = {(child["kernel0"], child["expand0"]) for child in (design.mutate(genotype, source) for _ in range(400))
              if child["block0"] == "mbconv"}
    assert opened == {(k, e) for k in (3, 5, 7) for e in (3, 6)}


def test_a_space_of_one_architecture_mutates_to_itself():
    space = Space([choose("a", 1), choose("b", x=choose("c", 5))])
    assert space.size == 1
    genotype = space.sample(rng())
    assert genotype == {"a": 1, "b": "x", "c": 5}
    assert space.mutate(genotype, rng()) == genotype and list(space.neighbours(genotype)) == []


@FEW
@given(models(), st.integers(0, 9))
def test_every_decision_of_a_child_comes_from_a_parent_that_has_it(model, seed):
    space, every = Space(model[0]), model[1]
    source = rng(seed)
    for _ in range(8):
        one, other = source.choice(every), source.choice(every)
        child = space.crossover(one, other, source)
        space.check(child)
        assert all(child[name] in [parent[name] for parent in (one, other) if name in parent]
                   for name in child if name in one or name in other)
        assert space.crossover(one, one, source) == one


def test_crossover_takes_evenly_from_both():
    space = Space([choose(f"a{i}", 0, 1) for i in range(20)])
    one, other = dict.fromkeys(space.labels, 0), dict.fromkeys(space.labels, 1)
    source = rng()
    children = [space.crossover(one, other, source) for _ in range(100)]
    assert sum(map(sum, (child.values() for child in children))) / 2000 == pytest.approx(0.5, abs=0.05)
    assert len({space.id(child) for child in children}) > 90


@FEW
@given(models(), st.integers(0, 9))
def test_neighbours_are_distinct_legal_and_one_decision_away(model, seed):
    space, every = Space(model[0]), model[1]
    genotype = rng(seed).choice(every)
    found = list(space.neighbours(genotype))
    assert len(found) == len(frozen(found)) == sum(len(space.labels[name]) - 1 for name in genotype)
    for neighbour in found:
        space.check(neighbour)
        assert len(changed(genotype, neighbour)) == 1


# --- encode and fix

@FEW
@given(models())
def test_the_encoding_has_one_length_and_tells_architectures_apart(model):
    space, every = Space(model[0]), model[1]
    vectors = [tuple(space.encode(genotype)) for genotype in every]
    assert {len(vector) for vector in vectors} == {sum(map(len, space.labels.values()))}
    assert len(set(vectors)) == len(every)
    assert all(sum(vector) == len(genotype) for vector, genotype in zip(vectors, every, strict=True))


SCALARS = st.none() | st.text(max_size=2) | st.integers(-3, 9) | st.sampled_from(["p", "q", "r", 0.5])


@FEW
@given(models(), st.dictionaries(st.sampled_from("abcdefgh"), SCALARS), st.integers(0, 3))
def test_fix_makes_anything_legal_and_keeps_what_is(model, broken, seed):
    space, every = Space(model[0]), model[1]
    for source in (None, rng(seed)):
        fixed = space.fix(broken, source)
        space.check(fixed)
        assert all(fixed[name] == label for name, label in broken.items()
                   if name in fixed and label in space.labels[name])
        assert space.fix(fixed, source) == fixed
    assert all(space.fix(genotype) == genotype for genotype in every[:5])


@pytest.mark.parametrize("label", [True, 1.0])
def test_fix_repairs_what_only_equals_an_option(label):
    space = Space(choose("a", 2, 1))
    space.check(space.fix({"a": label}))


@pytest.mark.parametrize("label", [[], {}])
def test_fix_repairs_what_cannot_be_hashed(label):
    assert Space(choose("a", 2, 1)).fix({"a": label}) == {"a": 2}


# --- check

LEGAL = {"width": 24, "depth": 2, "block0": "skip", "block1": "mbconv", "kernel1": 5, "expand1": 6}
WRONG = {
    "illegal value": ({**LEGAL, "width": 20}, r"'width' has no option 20; legal: 16, 24, 32"),
    "illegal text": ({**LEGAL, "block0": "conv"}, r"'block0' has no option 'conv'; legal: 'skip', 'mbconv'"),
    "float for int": ({**LEGAL, "kernel1": 5.0}, r"'kernel1' has no option 5\.0; legal: 3, 5, 7"),
    "text for int": ({**LEGAL, "depth": "2"}, r"'depth' has no option '2'; legal: 2, 3, 4"),
    "none": ({**LEGAL, "depth": None}, r"'depth' has no option None"),
    "list": ({**LEGAL, "depth": [2]}, r"'depth' has no option \[2\]"),
    "missing": ({k: v for k, v in LEGAL.items() if k != "expand1"}, r"lacks 'expand1' \(legal: 3, 6\)"),
    "all missing": ({}, r"lacks 'width' .*'depth'"),
    "foreign": ({**LEGAL, "dropout": 1}, r"no choice 'dropout'"),
    "misspelt": ({**LEGAL, "blok0": "skip"}, r"no choice 'blok0'; did you mean 'block0'\?"),
    "beyond the depth": ({**LEGAL, "block3": "skip"}, r"'block3' is not a decision of this network"),
    "in an option not taken": ({**LEGAL, "kernel0": 3}, r"'kernel0' is not a decision of this network"),
    "a list": ([1, 2], "JSON object from choice name to label"),
    "nothing": (None, "JSON object from choice name to label"),
}


@pytest.mark.parametrize("case", WRONG)
def test_check_says_what_is_wrong_and_what_is_legal(design, case):
    genotype, message = WRONG[case]
    with pytest.raises(UsageError, match=message):
        design.check(genotype)


@pytest.mark.parametrize(("options", "label"), [((1, 2), True), ((True, False), 1), ((0.5, 1.0), 1), ((3, 5), 3.0)])
def test_check_tells_true_from_1_and_3_from_3_point_0(options, label):
    space = Space(choose("a", *options))
    space.check({"a": options[0]})
    with pytest.raises(UsageError, match="'a' has no option " + re.escape(repr(label))):
        space.check({"a": label})


# --- as JSON

def through_json(data):
    return json.loads(json.dumps(data))


@FEW
@given(models(separate=False))
def test_a_space_and_its_genotypes_survive_json(model):
    space = Space(model[0])
    read = Space.from_data(through_json(space.data))
    assert (read.hash, read.size, read.labels, read.data) == (space.hash, space.size, space.labels, space.data)
    for seed in range(3):
        genotype = space.sample(rng(seed))
        assert read.sample(rng(seed)) == genotype and list(read.sample(rng(seed))) == list(genotype)
        assert read.mutate(genotype, rng(seed)) == space.mutate(genotype, rng(seed))
        again = dict(reversed(through_json(genotype).items()))
        read.check(again)
        assert read.id(again) == space.id(genotype)


@FEW
@given(models())
def test_a_space_is_the_same_set_after_json(model):
    space = Space(model[0])
    read = Space.from_data(through_json(space.data))
    assert (read.hash, read.size) == (space.hash, space.size) and frozen(read) == frozen(space)


def test_a_space_from_json_draws_alike_where_choices_were_declared_twice():
    def a():
        return choose("a", 0, 1)

    def b():
        return choose("b", 0, 1)

    space = Space([b(), b(), a(), choose("c", p=b(), r=a())])
    read = Space.from_data(through_json(space.data))
    assert [read.sample(rng(i)) for i in range(20)] == [space.sample(rng(i)) for i in range(20)]


def test_labels_keep_their_types_through_json():
    space = Space(choose("a", 1, "1", 2.0, None, False))
    read = Space.from_data(through_json(space.data))
    assert [(label, type(label)) for label in read.labels["a"]] == [
        (1, int), ("1", str), (2.0, float), (None, type(None)), (False, bool)]
    assert len({read.id(genotype) for genotype in read}) == read.size == 5


def test_a_space_from_json_builds_an_equal_network(design):
    import torch

    from archfab.lowering.concrete import build
    read = Space.from_data(through_json(design.data))
    genotype = design.sample(rng(5))
    nets = []
    for space in (design, read):
        torch.manual_seed(0)
        nets.append(build(space, genotype, (torch.zeros(1, 3, 16, 16),)))
    one, other = (net.state_dict() for net in nets)
    assert list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(nets[0].eval()(x), nets[1].eval()(x))


@pytest.mark.parametrize("data", [None, [], {}, 3, {"root": {"choice": "a"}, "choices": {}},
                                  {"root": {"nonsense": 1}, "choices": {}},
                                  {"root": {"choice": "a"}, "choices": {"a": [["x", {"choice": "a"}]]}}])
def test_data_that_is_no_space_is_refused(data):
    with pytest.raises(UsageError, match="no space written by archfab"):
        Space.from_data(data)


def test_a_space_that_uses_a_missing_package_says_so():
    data = {"root": {"make": "no_such_package.parts:Block", "args": [], "kwargs": {}}, "choices": {}}
    with pytest.raises(UsageError, match=r"no_such_package\.parts:Block.*cannot be imported"):
        Space.from_data(data).root.make  # noqa: B018


GOLDEN = """
import json, random
from archfab import Space, choose, nn, repeat
width = choose("width", 16, 24)
space = Space(nn.Sequential(nn.Conv2d(width * 2, choose("kernel", 3, 5), bias=False), repeat(
    choose("depth", 1, 2), lambda i: choose(f"op{i}", skip=nn.Identity(), conv=nn.Conv2d(width, 1)))))
genotype = space.sample(random.Random(7))
print(json.dumps([space.hash, space.size, genotype, space.id(genotype), space.mutate(genotype, random.Random(8)),
                  space.encode(genotype), list(space.labels), list(map(space.id, space))[:3]]))
"""


def test_hashes_ids_and_draws_do_not_depend_on_the_process():
    answers = [subprocess.run([sys.executable, "-c", GOLDEN], env={**os.environ, "PYTHONHASHSEED": seed}, text=True,
                              capture_output=True, check=True).stdout for seed in ("1", "4242")]
    assert answers[0] == answers[1]
    space_hash, size, genotype, identity, *_ = json.loads(answers[0])
    assert size == 24
    assert genotype == GOLDEN_GENOTYPE
    assert (space_hash, identity) == GOLDEN_IDS


GOLDEN_GENOTYPE = {"width": 16, "kernel": 3, "depth": 2, "op0": "conv", "op1": "conv"}
GOLDEN_IDS = ("b11d512aede7", "f9056594700c")


def test_an_id_is_the_sha256_of_the_sorted_json():
    text = json.dumps(GOLDEN_GENOTYPE, sort_keys=True, separators=(",", ":"))
    assert Space.id(GOLDEN_GENOTYPE) == hashlib.sha256(text.encode()).hexdigest()[:12] == GOLDEN_IDS[1]


# --- what the hash says

def test_two_spellings_of_a_call_are_one_space():
    assert Space(nn.Conv2d(8, 3)).hash == Space(nn.Conv2d(kernel_size=3, out_channels=8)).hash


@pytest.mark.parametrize("other", [nn.Conv2d(8, 5), nn.Conv2d(8, 3, bias=False), nn.Conv1d(8, 3),
                                   nn.Conv2d(choose("a", 8, 9), 3), [nn.Conv2d(8, 3)]])
def test_another_declaration_has_another_hash(other):
    assert Space(other).hash != Space(nn.Conv2d(8, 3)).hash


def test_an_infinite_argument_is_legal_or_refused_where_it_is_declared():
    try:
        space = Space(nn.ConstantPad2d(1, float("-inf")))
    except UsageError:
        return
    assert len(space.hash) == 12


# --- equal names

@pytest.mark.parametrize("two", [
    lambda: [choose("k", 1, 2), choose("k", 1, 3)],
    lambda: [choose("k", 1, 2), choose("k", 2, 1)],
    lambda: nn.Sequential(nn.Conv2d(choose("k", 1, 2), 3), choose("op", a=nn.Conv2d(choose("k", 1), 3), b=nn.ReLU())),
    lambda: repeat(choose("k", 1, 2), lambda i: choose("k", 3, 4))])
def test_equal_names_with_other_options_are_an_error_that_names_both(two):
    with pytest.raises(UsageError, match=r"'k'.*\[[\d, ]+\] and \[[\d, ]+\]") as caught:
        Space(two())
    one, other = re.findall(r"\[[\d, ]+\]", str(caught.value))
    assert one != other


def test_equal_names_and_labels_with_other_contents_are_told_apart_in_the_message():
    with pytest.raises(UsageError, match="'k'") as caught:
        Space([choose("k", a=1, b=2), choose("k", a=1, b=3)])
    one, other = re.findall(r"\[.*?\]", str(caught.value))
    assert one != other


@pytest.mark.parametrize(("one", "other"), [((1, 2), (True, 2)), ((3, 5), (3.0, 5.0))])
def test_equal_names_with_options_of_other_types_are_an_error(one, other):
    with pytest.raises(UsageError, match="two choices are named 'k'"):
        Space([choose("k", *one), choose("k", *other)])


def test_a_choice_inside_an_option_of_a_choice_of_equal_name_is_an_error():
    with pytest.raises(UsageError, match="'a'"):
        Space(choose("a", x=choose("b", p=choose("a", 1, 2), q=0), y=0))


# --- arithmetic and comparison

A = choose("a", 3, 7)


@pytest.mark.parametrize("symbol", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"])
@pytest.mark.parametrize("value", [3, 7])
def test_arithmetic_from_either_side(symbol, value):
    function = getattr(operator, symbol)
    for made, expected in ((function(A, 2), function(value, 2)), (function(2, A), function(2, value)),
                           (function(A, A), function(value, value)), (function(A, 1.5), function(value, 1.5))):
        assert evaluate(made, {"a": value}) == expected


@pytest.mark.parametrize("value", [3, 7])
def test_nested_arithmetic_minus_and_extremes(value):
    made = minimum(maximum(-A + 10, A // 2), 5, A * 2)
    assert evaluate(made, {"a": value}) == min(max(10 - value, value // 2), 5, value * 2)


@pytest.mark.parametrize("make", [
    lambda: A + "x", lambda: A * True, lambda: A + None, lambda: [1] * A, lambda: minimum(A, "b"),
    lambda: choose("t", "x", "y") + 1, lambda: 2 * choose("t", conv=nn.ReLU()), lambda: choose("t", True, False) + 1])
def test_arithmetic_on_what_is_no_number_is_an_error(make):
    with pytest.raises(TypeError, match="arithmetic on"):
        make()


@pytest.mark.parametrize("use", [
    lambda: A == 3, lambda: A != 3, lambda: A < 3, lambda: A <= 3, lambda: A > 3, lambda: A >= 3, lambda: bool(A),
    lambda: 1 if A else 2, lambda: not A, lambda: A * 2 == 6, lambda: 3 in [A], lambda: max(A, 5), lambda: A < A])
def test_comparing_a_choice_says_what_to_do_instead(use):
    with pytest.raises(TypeError, match=r"no value yet.*choose\(name, small=\.\.\., large=\.\.\.\)"):
        use()


# --- bad declarations

@pytest.mark.parametrize(("make", "message"), [
    (lambda: choose("", 1), "named by a text"),
    (lambda: choose(3, 1), "named by a text, not by 3"),
    (lambda: choose("a"), "'a' takes either values or labelled options, and at least one"),
    (lambda: choose("a", 1, b=2), "'a' takes either values or labelled"),
    (lambda: choose("a", 1, 1), "equal options: 1, 1"),
    (lambda: choose("a", 1, True), "equal options: 1, True"),
    (lambda: choose("a", 1, 1.0), "equal options"),
    (lambda: choose("a", [1, 2]), r"'a': \[1, 2\] is no plain value; label it"),
    (lambda: choose("a", nn.ReLU()), "no plain value; label it"),
    (lambda: choose("a", float("nan")), "not a finite number"),
    (lambda: choose("a", float("inf")), "not a finite number"),
    (lambda: repeat(-1, str), "whole numbers from 0 up, not -1"),
    (lambda: repeat(True, str), "not True"),
    (lambda: repeat(2.0, str), r"not 2\.0"),
    (lambda: repeat("3", str), "not '3'"),
    (lambda: repeat(None, str), "not None"),
    (lambda: repeat(choose("a", 1, 2.5), str), r"not 2\.5"),
    (lambda: repeat(choose("a", "x"), str), "not 'x'"),
    (lambda: repeat(choose("a", 1, 2) - 2, str), "not -1"),
    (lambda: repeat(choose("a", 1, 2) / 1, str), r"not 1\.0"),
    (lambda: describe(3), "takes a class or a function, not 3"),
    (lambda: describe("torch.nn.Linear"), "takes a class or a function"),
    (lambda: Space({1, 2}), "is no data"),
    (lambda: Space(choose("a", x=object())), "is no data"),
])
def test_a_bad_declaration_is_refused_with_the_reason(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_repeat_of_a_description_instead_of_a_function_is_refused_with_the_reason():
    with pytest.raises(UsageError, match="repeat"):
        repeat(3, nn.ReLU())


def test_a_built_torch_module_in_a_description_is_refused():
    import torch
    with pytest.raises(UsageError, match="ReLU"):
        Space(nn.Sequential(torch.nn.ReLU()))


def test_repeat_builds_each_part_with_its_number():
    called = []
    repeat(choose("n", 1, 3), called.append)
    assert called == [0, 1, 2]
    assert Space(repeat(0, lambda i: choose("a", 1, 2))).size == 1


# --- the report

@FEW
@given(models(arithmetic=False))
def test_conditions_name_every_choice_that_not_every_network_has(model):
    space = Space(model[0])
    every = list(space)
    sometimes = {name for name in space.labels if 0 < sum(name in genotype for genotype in every) < len(every)}
    assert sometimes <= set(conditions(space))


def test_conditions_see_through_arithmetic_in_a_count():
    count = minimum(choose("a", 0, 1), choose("b", 1, 2))
    assert "e" in conditions(Space(repeat(count, lambda i: choose("e", 0, 1))))


def test_conditions_say_what_brings_a_choice(design):
    when = conditions(design)
    assert when["block3"] == "depth=4" and when["kernel0"] == "block0=mbconv"
    assert "width" not in when and "block1" not in when


def test_networks_are_tried_until_every_option_stood_in_one(design):
    tried = []
    assert uncovered(design, lambda genotype: tried.append(genotype) or True, rng()) == []
    for genotype in tried:
        design.check(genotype)
    taken = {item for genotype in tried for item in genotype.items()}
    assert taken == {(name, label) for name, labels in design.labels.items() for label in labels}
    assert len(tried) <= 13


def test_options_that_stand_in_no_working_network_are_named(design):
    def works(genotype):
        return genotype.get("kernel1") != 7 and genotype["depth"] < 4

    left = uncovered(design, works, rng())
    assert {("kernel1", 7), ("depth", 4), ("block3", "skip"), ("kernel3", 3)} <= set(left)
    assert {name for name, _ in left} == {"kernel1", "depth", "block3", "kernel3", "expand3"}


def test_options_below_a_second_use_of_the_same_depth_are_tried():
    depth = choose("depth", 1, 2)
    space = Space(repeat(depth, lambda i: choose(f"b{i}", skip=0, conv=repeat(
        depth, lambda j: choose(f"c{i}{j}", 0, 1)))))
    tried = []
    assert uncovered(space, lambda genotype: tried.append(genotype) or True, rng()) == []
    assert {("c01", 0), ("c01", 1)} <= {item for genotype in tried for item in genotype.items()}


@pytest.mark.parametrize("target", ["os:system", "builtins:eval", "subprocess:Popen", "torch:load", "torch.hub:load"])
def test_a_space_read_from_a_file_cannot_call_what_it_likes(target):
    data = {"root": {"make": target, "args": ["touch /tmp/exploded"], "kwargs": {}}, "choices": {}}
    with pytest.raises(UsageError, match="not called on the word of a file"):
        Space.from_data(data).root.make  # noqa: B018
    with pytest.raises(UsageError, match="not called on the word of a file"):
        Space.from_data({"root": {"object": target}, "choices": {}})


def test_a_choice_of_whole_networks_is_drawn_evenly_and_uniformly_below():
    big = [choose("a", 1, 2, 3), choose("b", 1, 2, 3, 4), choose("c", 1, 2, 3)]
    space = Space(choose("kind", small=nn.Linear(choose("d", 1, 2)), big=nn.Sequential(*(nn.Linear(c) for c in big))))
    assert space.size == 38 and "evenly" in space.sampling and "'kind'" in space.sampling
    drawn = Counter(canonical(space.sample(random.Random(i))) for i in range(4000))
    assert len(drawn) == 38
    for genotype, number in drawn.items():
        chance = 0.5 / (2 if "small" in genotype else 36)
        assert abs(number / 4000 - chance) < 4.5 * (chance * (1 - chance) / 4000) ** 0.5
