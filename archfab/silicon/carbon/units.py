"""Units of activities and of their emission factors, and the gases whose mass is turned into CO2."""

from __future__ import annotations

from archfab.core import UsageError, unknown

UNITS = {                           # what one of a unit is in the first of its kind
    "energy": {"kWh": 1.0, "Wh": 1e-3, "MWh": 1e3, "GWh": 1e6, "MJ": 1 / 3.6, "GJ": 1e3 / 3.6, "TJ": 1e6 / 3.6,
               "kJ": 1e-3 / 3.6, "therm": 29.3071, "MMBtu": 293.071},
    "volume": {"m3": 1.0, "L": 1e-3, "l": 1e-3, "gal": 3.785411784e-3},
    "mass": {"kg": 1.0, "g": 1e-3, "t": 1e3, "lb": 0.45359237},
    "distance": {"km": 1.0, "mi": 1.609344}, "freight": {"tkm": 1.0, "kgkm": 1e-3},
    "travel": {"pkm": 1.0, "pmi": 1.609344}, "time": {"h": 1.0, "day": 24.0},
    "area": {"m2": 1.0, "cm2": 1e-4, "mm2": 1e-6}}
KINDS = {unit: kind for kind, units in UNITS.items() for unit in units}
MASS = UNITS["mass"]

GWP = {"CO2": 1.0, "CH4": 29.8, "CH4 biogenic": 27.0, "N2O": 273.0, "SF6": 25200.0, "NF3": 17400.0, "CF4": 7380.0,
       "C2F6": 12400.0, "C3F8": 9290.0, "c-C4F8": 10200.0, "HFC-23": 14600.0, "HFC-32": 771.0, "HFC-125": 3740.0,
       "HFC-134a": 1530.0, "HFC-143a": 5810.0, "HFC-227ea": 3600.0}
"""Global warming potential over 100 years: IPCC AR6, WG I, chapter 7, supplementary table 7.SM.7; CH4 (of fossil
origin, and biogenic) by table 7.15. Later lists give SF6 as 24,300. As inventories do, it is taken as exact."""


def kg_per_unit(where: str, factor: float, factor_unit: str, unit: str) -> float:
    """An emission factor in kg CO2e for one of a unit: 0.2 kg/kWh is 55.6 for a GJ.

    :raises UsageError: where the factor is no mass per something, or per something else than the activity is counted
        in.
    """
    mass, slash, per = (part.strip() for part in factor_unit.partition("/"))
    if not slash or mass not in MASS:
        raise UsageError(f"{where}: the factor's unit is '{factor_unit}'; it is a mass per something, such as "
                         f"kg/{unit}; masses: {', '.join(MASS)}")
    if per == unit:
        return factor * MASS[mass]
    if per in KINDS and KINDS.get(unit) == KINDS[per]:
        table = UNITS[KINDS[per]]
        return factor * MASS[mass] * table[unit] / table[per]
    near = f"; {KINDS[unit]} is also written {', '.join(UNITS[KINDS[unit]])}" if unit in KINDS else ""
    raise UsageError(f"{where}: the amount is in {unit} and the factor per {per}, which cannot be turned into each "
                     f"other{near}")


def kg_of_gas(where: str, gas: str, unit: str) -> float:
    """kg CO2e for one unit of mass of a gas.

    :raises UsageError: of a gas that is not in the table, or a unit that is no mass.
    """
    if gas not in GWP:
        raise unknown("gas", gas, list(GWP), "; of another, give factor and factor_unit yourself")
    if unit not in MASS:
        raise UsageError(f"{where}: {gas} is counted by its mass ({', '.join(MASS)}), not in {unit}")
    return GWP[gas] * MASS[unit]
