"""A network and what is open about its device as one space, so that both are searched together.

The device's decisions stand in a genotype beside the network's, as `device.NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archfab.core import Genotype, Label, UsageError
from archfab.space.choices import Choice
from archfab.space.descriptions import Description, address
from archfab.space.space import Space

PREFIX = "device."


class Joint:
    """The network, beside decisions of which it knows nothing."""

    @staticmethod
    def assemble(builder: Any, x: Any, where: str, network: Any, decisions: Any) -> Any:
        return builder.part(network, x, where.rpartition("/")[0])


def joined(space: Space, decisions: Mapping[str, Sequence[Label]]) -> Space:
    """The space of a network's decisions and a device's; the same space where the device has none.

    :raises UsageError: where a choice of the network has a name that belongs to devices.
    """
    if taken := [name for name in space.labels if name.startswith(PREFIX)]:
        raise UsageError(f"the choice '{taken[0]}' of this space has a name that is kept for a device's decisions; "
                         "rename it")
    if not decisions:
        return space
    named = {PREFIX + name: Choice(PREFIX + name, {label: label for label in labels})
             for name, labels in decisions.items()}
    return Space(Description(address(Joint), (), {"network": space.root, "decisions": named}, Joint))


def networks_of(space: Space) -> Space:
    """The network's own space, without a device's decisions."""
    joint = isinstance(space.root, Description) and space.root.target == address(Joint)
    return Space(space.root.kwargs["network"]) if joint else space


def network_of(genotype: Genotype) -> dict[str, Label]:
    """The decisions of the network alone."""
    return {name: label for name, label in genotype.items() if not name.startswith(PREFIX)}


def device_of(genotype: Genotype) -> dict[str, Label]:
    """The decisions of the device alone, by their own names."""
    return {name.removeprefix(PREFIX): label for name, label in genotype.items() if name.startswith(PREFIX)}
