"""A table of a space's kernels, measured on a device that runs them: a `lookup` device of one's own."""

from __future__ import annotations

import random
import sys
from typing import Any

from archfab import registry
from archfab.core import UsageError
from archfab.device.add import check_name
from archfab.device.networks import Naming
from archfab.evaluate import load_device


def tabulate(name: str, naming: Naming, device: str, networks: int, seed: int, replace: bool) -> dict[str, Any]:
    """Measures every kernel of a task's space on a device of the model `host`, here or on a board, and writes the
    table among the user's own devices, with how far its sums are off on random networks."""
    from archfab.hardware.measuring.tabulate import make_device, quick
    from archfab.hardware.models.host import Host
    folder = registry.own_devices()
    check_name(name, folder, replace)
    if naming.task is None:
        raise UsageError("say whose kernels: --task vision, and --space where it is not the task's first")
    host = load_device(device)
    if not isinstance(host, Host):
        raise UsageError(f"'{device}' does not run networks, so it measures no kernels; give host, or a .toml file "
                         "with model = \"host\"")
    folder.mkdir(parents=True, exist_ok=True)
    found = make_device(name, folder, quick(host), naming.bench.space, naming.bench.workload, random.Random(seed),
                        networks, tell)
    return {**found, "device": name, "file": found["device"], "measured_on": device}


def tell(done: int, of: int) -> None:
    """Progress on standard error."""
    print(f"\rarchfab: {done} of {of} kernels measured", end="" if done < of else "\n", file=sys.stderr, flush=True)

