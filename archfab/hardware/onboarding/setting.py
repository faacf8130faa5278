"""What is known before a new device is measured: for networks of a space, the lists of all devices that have it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from archfab.core import UsageError
from archfab.hardware.onboarding.posterior import Prior, prior_of
from archfab.hardware.onboarding.references import Reference, rooflines
from archfab.hardware.onboarding.spaces import RUNTIMES, Networks

METRIC = 1500           # networks that the directions are taken from
FEW = 4                 # devices that have a space; with fewer, others join in, with their prices alone


@dataclass(frozen=True)
class Setting:
    """Priors by runtime, and the devices that they come from."""

    space: str
    priors: tuple[Prior, ...]
    names: tuple[str, ...]          # of the known devices
    codes: tuple[str, ...]          # names of the code columns
    shares: tuple[float, ...]       # how likely each runtime is, by those of the known devices

    @property
    def runtimes(self) -> tuple[str, ...]:
        return RUNTIMES[:len(self.priors)]

    def features(self, networks: Networks, likely: Mapping[int, float] | None = None) -> np.ndarray:
        """Features whose products are the prior covariances of relative latencies: of each runtime's list, and of
        which runtime it is.

        :param likely: how likely each runtime is; all alike unless given, so that what is chosen tells them apart.
        """
        likely = likely or {at: 1 / len(self.priors) for at in range(len(self.priors))}
        columns = {at: networks.columns(at) for at in likely}
        usual = {at: self.priors[at].usual(x) for at, x in columns.items()}
        middle = np.sum([share * usual[at] for at, share in likely.items()], axis=0)
        parts = [np.sqrt(share) * np.concatenate([self.priors[at].features(columns[at]), (usual[at] - middle)[:, None]],
                                                 axis=1) for at, share in likely.items()]
        return np.concatenate(parts, axis=1) / middle[:, None]


def setting_of(space: str, networks: Networks, known: Sequence[Reference], without: Collection[str] = ()) -> Setting:
    """What devices other than those `without` say of networks like these."""
    known = [each for each in known if each.name not in without]
    used = [each for each in known if each.knows(space)]
    if len(used) < FEW and networks.priced:
        used += [each for each in (*known, *rooflines()) if not each.knows(space)]
    if not used:
        raise UsageError(f"no other device is known for networks of {space}; give more knowledge: --knowledge DIR")
    chosen = np.random.default_rng(0).permutation(len(networks))[:METRIC]
    codes = networks.codes.shape[2]
    lists = np.stack([np.concatenate([each.prices, each.places.get(space, np.zeros(codes))]) for each in used])
    priors = tuple(prior_of(lists, networks.columns(at)[chosen]) for at in range(len(networks.bills)))
    counts = [1 + sum(each.runtime.get(space) == runtime for each in used) for runtime in RUNTIMES[:len(priors)]]
    return Setting(space, priors, tuple(each.name for each in used), networks.names,
                   tuple(count / sum(counts) for count in counts))


def unlike_any(space: str, networks: Networks, latencies: np.ndarray, known: Sequence[Reference],
               names: Collection[str]) -> float:
    """By which factor the latencies are beyond the slowest known device (above 1) or the fastest (below 1); else 1."""
    columns = networks.columns(0)
    ratios = [float(np.median(latencies / each.latencies(columns, space))) for each in (*known, *rooflines())
              if each.name in names]
    return min(ratios) if min(ratios) > 1 else max(ratios) if max(ratios) < 1 else 1.0


def family(name: str) -> str:
    """The device behind a column: 1080ti for 1080ti_32 (a batch size), raspi4 for raspi4 (cifar10)."""
    return re.sub(r"(_\d{1,3})?( \(.*\))?$", "", name)
