"""Encodings of genotypes: paths through hand-made cells, and the table's cells without a path."""

import random

import pytest

from archfab import Space, choose, nn, repeat
from archfab.nn.cells import Cell, Edge, Zero
from archfab.space.encodings import one_hot, paths


def cell(*edges, nodes=3):
    """A cell of four nodes as NAS-Bench-201's, each edge a choice of none, skip and conv."""
    def operation(i, j):
        return choose(f"{i}{j}", none=Zero(), skip=nn.Identity(), conv=nn.Conv2d(8, 1))
    return Space(Cell([[Edge(i, operation(i, j)) for i in range(j)] for j in range(1, nodes + 1)]))


def on(encoding, genotype):
    return {encoding.features[i] for i in encoding.ones(genotype)}


def test_one_hot_equals_the_encoding_of_the_space():
    space = Space([choose("a", 1, 2), repeat(choose("n", 0, 2), lambda i: choose(f"k{i}", "x", "y", "z"))])
    genotypes = list(space)
    assert one_hot(space)(genotypes).tolist() == [space.encode(genotype) for genotype in genotypes]


def test_the_paths_of_a_hand_made_cell():
    space, off = cell(), "none"
    encoding = paths(space)
    genotype = {"01": "conv", "02": off, "12": "skip", "03": off, "13": "conv", "23": "conv"}
    assert {path.split(": ")[1].split(" > ", 1)[1] for path in on(encoding, genotype)} == {
        "conv > conv", "conv > skip > conv"}


def test_the_paths_of_the_cell_are_all_words_of_two_options_along_its_four_ways():
    assert len(paths(cell()).features) == 2 + 4 + 8         # lengths 1, 2, 3; the two ways of length 2 are alike


def test_edges_that_no_path_uses_are_not_seen():
    encoding, none = paths(cell()), dict.fromkeys(("01", "02", "12", "03", "13", "23"), "none")
    assert on(encoding, {**none, "03": "conv", "01": "skip"}) == on(encoding, {**none, "03": "conv"})
    assert not on(encoding, {**none, "01": "conv", "12": "conv"})


def test_a_space_without_cells_has_no_paths():
    assert paths(Space([choose("a", 1, 2)])) is None


def test_paths_of_the_large_cells_of_darts_share_places():
    space = Space(nn.darts_cell(8, "cell"))
    encoding = paths(space, limit=64)
    genotypes = [space.sample(random.Random(seed)) for seed in range(20)]
    found = encoding(genotypes)
    assert found.shape == (20, len(encoding.features)) and len(encoding.features) <= 64 + 16
    assert (found.sum(1) > 0).all() and len({row.tobytes() for row in found}) == 20


@pytest.mark.shared
def test_exactly_the_cells_of_chance_accuracy_have_no_path(shared_data):
    from archfab.tables import read_table
    table = read_table(shared_data / "nasbench201")
    found = paths(table.space)(table.genotypes)
    empty = {i for i, row in enumerate(found) if not row.any()}
    assert len(empty) == 341
    assert empty == {i for i, g in enumerate(table.genotypes) if table.truth(g, ["accuracy"])["accuracy"] == 10.0}
