"""Instructions by what they cost: the classes whose cycles a device file says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

CLASSES = ("arithmetic", "multiply", "long_multiply", "divide", "load", "store", "several", "branch", "float",
           "vector", "vector_memory")
"""`several` moves more than one register between memory and the core (LDRD, LDM, PUSH); `float` is the scalar
floating-point unit; the vector classes are those of the M55."""

RULES = tuple((name, re.compile(pattern)) for name, pattern in (
    ("vector_memory", r"v(ld|st)r[bhwd]|v(ld|st)[24]\d"),
    ("several", r"(ldrd|strd|ldm|stm|push|pop|vpush|vpop|vldm|vstm)"),
    ("float", r"v(ldr|str)$|v\w+\.f(32|64)|vmov(\.f32)?$|vmrs|vmov\.32|vcvt|vsqrt|vdiv"),
    ("vector", r"v"),
    ("load", r"ldr"),
    ("store", r"str"),
    ("long_multiply", r"[us]m(ull|lal)"),
    ("divide", r"[us]div"),
    ("multiply", r"mul|mla|mls|smla|smul|smmul|smmla|smuad|smusd|smlad|smlsd"),
    ("branch", r"b(eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|l|x|lx|hs|lo)?(\.[nw])?$|cbn?z|tb[bh]|dls|wls|letp|le$")
))


def class_of(mnemonic: str) -> str:
    """The class of an instruction, by its name as the disassembler writes it."""
    return next((name for name, rule in RULES if rule.match(mnemonic)), "arithmetic")


def classes(histogram: Mapping[str, int]) -> Counter[str]:
    """How many instructions of each class ran."""
    found: Counter[str] = Counter()
    for mnemonic, times in histogram.items():
        found[class_of(mnemonic)] += times
    return found
