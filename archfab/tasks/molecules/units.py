"""Units of energies, lengths, forces and stresses: read from what the user says, and converted to eV and Angstrom."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scipy import constants

from archfab.core import UsageError, unknown

_EV, _MOL = constants.electron_volt, constants.Avogadro
HARTREE = constants.value("Hartree energy in eV")
BOHR = constants.value("Bohr radius") / constants.angstrom
ENERGIES = {
    "eV": 1.0, "meV": 1e-3, "kcal/mol": constants.calorie * 1e3 / _MOL / _EV, "kJ/mol": 1e3 / _MOL / _EV,
    "Hartree": HARTREE, "Rydberg": HARTREE / 2,
}
"""eV in one unit of energy, from the CODATA values that scipy brings; a calorie is 4.184 J."""
LENGTHS = {"Angstrom": 1.0, "Bohr": BOHR, "nm": 10.0}
"""Angstrom in one unit of length."""
PRESSURES = {"GPa": 1e9 * constants.angstrom**3 / _EV, "kbar": 1e8 * constants.angstrom**3 / _EV}
"""eV/Angstrom^3 in one unit of pressure."""
ALIASES = {
    "ev": "eV", "electronvolt": "eV", "mev": "meV", "kcal": "kcal/mol", "kcal/mol": "kcal/mol", "kcalmol": "kcal/mol",
    "kcal_mol": "kcal/mol", "kj/mol": "kJ/mol", "kj": "kJ/mol", "hartree": "Hartree", "ha": "Hartree", "eh": "Hartree",
    "au": "Hartree", "rydberg": "Rydberg", "ry": "Rydberg", "angstrom": "Angstrom", "ang": "Angstrom", "a": "Angstrom",
    "å": "Angstrom", "bohr": "Bohr", "a0": "Bohr", "nm": "nm", "nanometer": "nm", "nanometre": "nm", "gpa": "GPa",
    "kbar": "kbar", "kb": "kbar",
}
LEGAL = ("name an energy and, where it is not Angstrom, a length: 'eV', 'kcal/mol', 'Hartree,Bohr'; or each by itself: "
         "'energy=Hartree,length=Bohr,force=eV/Angstrom,stress=GPa'")


@dataclass(frozen=True)
class Units:
    """The units that a file is written in. A force is an energy by a length, a stress an energy by a volume, unless
    they have units of their own."""

    energy: str = "eV"
    length: str = "Angstrom"
    force: tuple[str, str] | None = None
    stress: str | None = None

    @property
    def to_energy(self) -> float:
        """eV in one unit of energy."""
        return ENERGIES[self.energy]

    @property
    def to_length(self) -> float:
        """Angstrom in one unit of length."""
        return LENGTHS[self.length]

    @property
    def to_force(self) -> float:
        """eV/Angstrom in one unit of force."""
        energy, length = self.force or (self.energy, self.length)
        return ENERGIES[energy] / LENGTHS[length]

    @property
    def to_stress(self) -> float:
        """eV/Angstrom^3 in one unit of stress."""
        return PRESSURES[self.stress] if self.stress else self.to_energy / self.to_length**3

    def __str__(self) -> str:
        force = "/".join(self.force or (self.energy, self.length))
        text = f"energies in {self.energy}, lengths in {self.length}, forces in {force}"
        factors = f"energies times {self.to_energy:.8g}, lengths times {self.to_length:.8g}, forces times " \
                  f"{self.to_force:.8g}"
        same = self.to_energy == self.to_length == self.to_force == 1
        return text if same else f"{text}, converted to eV and Angstrom ({factors})"


def read_units(text: str, base: Units | None = None) -> Units:
    """What the user says of the units: 'kcal/mol', 'Hartree,Bohr', 'energy=Hartree,force=eV/Angstrom'.

    :param base: the units of what the text does not name.
    """
    units = base or Units()
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, _, value = word.rpartition("=")
        if not name:
            name = "energy" if named(value) in ENERGIES else "length"
        if name == "force":
            energy, slash, length = value.rpartition("/")
            if not slash:
                raise UsageError(f"the unit of force '{value}' is no energy by a length; {LEGAL}")
            units = replace(units, force=(known("energy", energy), known("length", length)))
        elif name in ("energy", "length", "stress"):
            units = replace(units, **{name: known(name, value)})    # type: ignore[arg-type]
        else:
            raise unknown("quantity", name, ("energy", "length", "force", "stress"), f"({LEGAL})")
    return units


def known(kind: str, text: str) -> str:
    """A unit by the name that it has here."""
    table = {"energy": ENERGIES, "length": LENGTHS, "stress": PRESSURES}[kind]
    name = named(text)
    if name not in table:
        raise unknown(f"unit of {kind}", text.strip(), list(table), f"({LEGAL})")
    return name


def named(text: str) -> str:
    text = text.strip()
    return text if text in ENERGIES else ALIASES.get(text.lower(), text)
