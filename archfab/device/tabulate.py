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
    return {"name": name, "measured_on": device, **found}


def tell(done: int, of: int) -> None:
    """Progress on standard error."""
    print(f"\rarchfab: {done} of {of} kernels measured", end="" if done < of else "\n", file=sys.stderr, flush=True)


def show_table_made(document: dict[str, Any]) -> None:
    """What was measured, and how far the sums are off."""
    from archfab.terminal import say
    ratios = sorted(row["ratio"] / document["scale"] for row in document["checked"])
    say(f"{document['kernels']} kernels measured on {document['measured_on']}; a run takes "
        f"{document['start_ms']:.4g} ms beside them")
    say(f"{len(ratios)} of {document['drawn']} random networks have listed kernels only: whole they take "
        f"{document['scale']:.3g} times the sum, which the table scales by; "
        f"then {ratios[0]:.2f} to {ratios[-1]:.2f} of it")
    for key, why in list(document["not_measured"].items())[:5]:
        say(f"not measured: {key}: {why}")
    say(f"{document['device']}; use it: --device {document['name']}")
