"""Process nodes: every quantity has a source and a value for every node, and newer nodes are denser and dearer."""

import itertools

import pytest

from archfab.core import UsageError
from archfab.silicon import nodes


def test_every_quantity_has_unit_origin_source_and_a_value_for_every_node():
    assert set(nodes.table()) == set(nodes.QUANTITIES)
    for quantity, entry in nodes.table().items():
        assert entry["unit"] and entry["source"] and entry["origin"] in ("measured", "calibrated", "analytic"), quantity
        assert {key for key in entry if key.isdecimal()} == set(nodes.names())
        low, high = nodes.interval(quantity)
        assert 0 < low <= 1 <= high


def test_newer_nodes_are_denser_thriftier_and_dearer():
    for older, newer in itertools.pairwise(map(nodes.node, nodes.names())):
        assert newer.wafer_usd > older.wafer_usd and newer.d0_per_cm2 >= older.d0_per_cm2
        assert newer.bitcell_um2 < older.bitcell_um2 and newer.logic_density > older.logic_density
        assert newer.switching_energy < older.switching_energy and newer.epa_kwh_per_cm2 > older.epa_kwh_per_cm2


@pytest.mark.parametrize("name", ["7", 7, 7.0, "7nm", " 7 NM "])
def test_a_node_is_found_by_its_number(name):
    assert nodes.node(name).wafer_usd == 9346


def test_an_unknown_node_is_refused_with_those_that_are_known():
    with pytest.raises(UsageError, match="known: 14, 28, 3, 5, 7"):
        nodes.node(90)
    assert nodes.node(16) == nodes.node(12) == nodes.node(14)
