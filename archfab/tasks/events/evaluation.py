"""What a point-process network scores on sequences: likelihood, predictions, compensators, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from archfab.core import Estimate
from archfab.tasks.events.batches import Padded
from archfab.tasks.events.heads import intensities_alone
from archfab.tasks.events.integral import legendre

ELEMENTS = 60_000       # rows times queries that a network answers at once
POINTS = 64             # at which the intensities are taken for a prediction
LEAST = 1e-3            # of them, after 0, in mean gaps
NODES = 16              # of the quadrature by type


@dataclass(frozen=True)
class Predicted:
    """What is to come after each row [N, L], knowing the rows up to it.

    :param wait: the expected time to the next event. :param median: its median. :param chances: [N, L, K], of its type.
    """

    wait: np.ndarray
    median: np.ndarray
    chances: np.ndarray


def log_likelihoods(model: Any, data: Padded) -> np.ndarray:
    """The log-likelihood of each sequence, [N], with the time unit of the network."""
    found = []
    for part in parts(data, 1):
        intensities, compensators = model(*part.inputs)
        found.append(log_likelihood_of(intensities, compensators, part.following, part.scored).double().sum(1).cpu())
    return torch.cat(found).numpy()


def log_likelihood_of(intensities: torch.Tensor, compensators: torch.Tensor, following: torch.Tensor,
                      scored: torch.Tensor) -> torch.Tensor:
    """Of each row [B, L]: log of the intensity of what came next, where something did, less the compensator until then.

    :param intensities: [B, L, Q, K] and :param compensators: [B, L, Q], of which the first query is that time.
    """
    chosen = intensities[:, :, 0].gather(2, following[..., None])[..., 0]
    return scored * chosen.log() - compensators[:, :, 0]


def predict(model: Any, data: Padded, longest: float) -> Predicted:
    """The expected time and the most probable type of the next event after each row.

    Intensities are taken at times that grow geometrically from 0 to `longest`, and integrated by the trapezoidal rule;
    between these times, and from the last one on, hazards count as constant for the survival. The chance of a type is
    the integral of its intensity times the survival.
    """
    times = grid(longest)
    queries = torch.from_numpy(times).float().to(data.gaps.device)
    found: list[tuple[np.ndarray, ...]] = []
    with intensities_alone(model):
        for part in parts(data, POINTS):
            intensities, _ = model(part.types, part.gaps, queries.expand(*part.gaps.shape, POINTS))
            found.append(foreseen(intensities.double().cpu().numpy(), times))
    return Predicted(*(np.concatenate(each) for each in zip(*found, strict=True)))


def grid(longest: float) -> np.ndarray:
    """The times after an event at which intensities are taken, in mean gaps."""
    return np.concatenate([[0.0], np.geomspace(LEAST, max(longest, 10 * LEAST), POINTS - 1)])


def foreseen(intensities: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean, median and chances of types from intensities [..., P, K] at times [P]."""
    total = intensities.sum(-1)
    steps = (total[..., 1:] + total[..., :-1]) / 2 * np.diff(times)
    reached = np.concatenate([np.zeros((*steps.shape[:-1], 1)), steps.cumsum(-1)], -1)
    alive = np.exp(-reached)
    lost = -np.diff(alive, axis=-1)
    spans = np.diff(times) * np.where(steps > 1e-9, lost / np.maximum(steps, 1e-9), alive[..., :-1])
    wait = spans.sum(-1) + alive[..., -1] / np.maximum(total[..., -1], 1e-12)
    shares = intensities / total[..., None]
    chances = (lost[..., None] * (shares[..., 1:, :] + shares[..., :-1, :]) / 2).sum(-2) + (
        alive[..., -1:] * shares[..., -1, :])
    half = math.log(2)
    place = np.clip((reached < half).sum(-1), 1, len(times) - 1)
    low, high = (np.take_along_axis(reached, (place - i)[..., None], -1)[..., 0] for i in (1, 0))
    within = (half - low) / np.maximum(high - low, 1e-12)
    inside = times[place - 1] + np.clip(within, 0, 1) * (times[place] - times[place - 1])
    beyond = times[-1] + (half - reached[..., -1]) / np.maximum(total[..., -1], 1e-12)
    return wait, np.where(reached[..., -1] < half, beyond, inside), chances


def by_type(model: Any, data: Padded) -> np.ndarray:
    """The integral of each type's intensity over the wait after each row, [N, L, K], by quadrature."""
    x, weights = (torch.tensor(each) for each in legendre(NODES))
    place, share = (each.to(data.waits.device, torch.float32) for each in (x * x, 2 * x * weights))
    found = []
    with intensities_alone(model):
        for part in parts(data, NODES):
            intensities, _ = model(part.types, part.gaps, part.waits[..., None] * place)
            found.append((part.waits[..., None] * (intensities * share[:, None]).sum(2)).double().cpu())
    return torch.cat(found).numpy()


def parts(data: Padded, queries: int) -> Iterator[Padded]:
    """The sequences in portions that fit into memory, without gradients."""
    size = max(1, ELEMENTS // (data.types.shape[1] * queries))
    with torch.no_grad():
        for low in range(0, len(data), size):
            yield data[low:low + size]


def scores(log_likelihood: np.ndarray, data: Padded, unit: float,
           found: Predicted | None = None) -> dict[str, Estimate]:
    """Negative log-likelihood per event in nats, with time in the unit of the data; the root mean square error of the
    expected time of the next event, and the share of wrong types. Intervals are over sequences.

    :param log_likelihood: [N], with time in `unit`s. :param found: predictions, where these are to be scored.
    """
    scored = data.scored.cpu().double().numpy()
    counts = scored.sum(1)
    result = {"nll": ratio(math.log(unit) * counts - log_likelihood, counts)}
    if found is not None:
        off = ((found.wait - data.waits.cpu().numpy()) ** 2 * scored).sum(1)
        error = ratio(off * unit**2, counts)
        low, value, high = (math.sqrt(max(0.0, each)) for each in (error.low, error, error.high))
        wrong = ((found.chances.argmax(-1) != data.following.cpu().numpy()) * scored).sum(1)
        result |= {"time_rmse": Estimate(value, low, high), "type_error": ratio(wrong, counts)}
    return result


def ratio(totals: np.ndarray, counts: np.ndarray) -> Estimate:
    """Sum by sum, with the interval of a ratio over independent sequences (the delta method); of a single sequence the
    interval is unknown, and has no width."""
    n, number = len(totals), max(counts.sum(), 1.0)
    value = float(totals.sum() / number)
    if n < 2:
        return Estimate(value, value, value)
    half = 1.96 * math.sqrt(n / (n - 1) * float(((totals - value * counts) ** 2).sum())) / number
    return Estimate(value, value - half, value + half)
