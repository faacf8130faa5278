"""Reading wafer maps, whatever they were written by."""

from __future__ import annotations

from archfab.silicon.wafers.arrays import FAIL, NO_DIE, PASS, maps_in_npz

__all__ = ["FAIL", "NO_DIE", "PASS", "maps_in_npz"]
