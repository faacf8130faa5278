"""A new device's price list: a Gaussian that starts at what known devices have in common and has seen measurements.

y = w . x (1 + noise), w ~ N(m, .25 m m' + c sum_k v_k v_k' + t diag(s^2) + u diag(z^2)): m is the mean list of the known
devices, each scaled to the same median latency, v_k the directions in which these lists differ most, s and z the
scales of terms and codes, the ways of its own that a device has. c, t, u and the noise are chosen by their marginal
likelihood times a prior (type II maximum a posteriori), from the measurements alone. Whatever is rounded to whole units
has a variance of a twelfth of the unit squared more. Latencies add up over terms, so all is linear and in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from archfab.hardware.onboarding.terms import TERMS

DIRECTIONS = 6
LEVEL = 0.25                    # variance of the mean list's own scale, after the scale is set by the measurements
BEFORE = np.log([1.0, 3e-3, 3e-4, 0.06**2])     # c, t, u, noise
SPREAD = np.array([1.0, 1.5, 1.5, 1.75])        # of their logarithms
JITTER = 1e-7
LEAST_SHARE = 0.05              # of the mean list's latency: no prediction is below


@dataclass(frozen=True)
class Prior:
    """What is known of a device's list before it is measured, for one runtime; a latency of 1 is the usual one."""

    mean: np.ndarray            # [column]
    directions: np.ndarray      # [column, k]
    terms: np.ndarray           # [column] scales of the device's own ways in terms, zero for codes
    codes: np.ndarray           # [column] and in codes

    def parts(self, x: np.ndarray) -> list[np.ndarray]:
        """Features whose products are the covariances of c, t and u."""
        return [x @ self.directions, x * self.terms, x * self.codes]

    def features(self, x: np.ndarray) -> np.ndarray:
        """Features whose products are the prior covariance of relative latencies, for choosing what to measure."""
        middle = np.maximum(x @ self.mean, LEAST_SHARE)
        weighted = [part * math.exp(log / 2) for part, log in zip(self.parts(x), BEFORE, strict=False)]
        return np.concatenate([math.sqrt(LEVEL) * middle[:, None], *weighted], axis=1) / middle[:, None]


def prior_of(lists: np.ndarray, x: np.ndarray) -> Prior:
    """From the lists of known devices [device, column] and networks of the kind that matters [network, column]."""
    known = x @ lists.T
    lists = lists / np.median(known, axis=0)[:, None]
    mean = lists.mean(0)
    apart = (lists - mean).T / math.sqrt(len(lists))
    _, _, axes = np.linalg.svd(x @ apart, full_matrices=False)
    return Prior(mean, apart @ axes[:DIRECTIONS].T, *scales(mean, x))


def scales(mean: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each term that varies moves latencies alike, together by 1 in the root mean square; so do codes. A term that the
    networks have not got, or all alike, is off by its own price."""
    spread, at = x.std(0), np.arange(x.shape[1])
    varying = spread > 1e-9
    terms = varying & (at < len(TERMS))
    own = np.where(terms, 1 / np.maximum(spread, 1e-9) / math.sqrt(max(1, terms.sum())), 0.0)
    own[:len(TERMS)] = np.where(varying[:len(TERMS)], own[:len(TERMS)], np.abs(mean[:len(TERMS)]))
    codes = varying & (at >= len(TERMS))
    size = math.sqrt(float((x[:, codes] ** 2).sum(1).mean())) if codes.any() else 1.0
    return own, np.where(codes, 1 / size, 0.0)


@dataclass(frozen=True)
class Posterior:
    """What is known after the measurements: latencies are Gaussian, `value` and `deviation` of them in ms."""

    mean: np.ndarray            # ms of each column
    low: np.ndarray             # [column] ms, the least that is predicted
    scale: np.ndarray           # [column] independent deviations, ms
    spread: np.ndarray          # [column, i] what is spread together, ms
    seen: np.ndarray            # [column, j] what the measurements took of it, ms
    noise: float                # relative
    step: float                 # ms that measurements are rounded to; 0: not
    evidence: float             # log, up to a constant
    places: float = 0.0         # ms, by which the codes of the places move a network: what is not known of one without

    def values(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x @ self.mean, LEAST_SHARE * np.maximum(x @ self.low, 0))

    def deviations(self, x: np.ndarray, measured: bool = True) -> np.ndarray:
        """Of the latency, or of another measurement of it."""
        variance = (x**2) @ (self.scale**2) + ((x @ self.spread) ** 2).sum(1) - ((x @ self.seen) ** 2).sum(1)
        noise = (self.noise * self.values(x)) ** 2 + self.step**2 / 12 if measured else 0.0
        return np.sqrt(np.maximum(variance, 0) + noise)

    def prices(self) -> np.ndarray:
        """ms of each term, without the codes."""
        return self.mean[:len(TERMS)]

    def at_large(self, bill: np.ndarray) -> tuple[float, float]:
        """A network of no known space, whose places are unknown: value and deviation from its terms alone, [term]."""
        n = len(TERMS)
        value = max(float(bill @ self.mean[:n]), LEAST_SHARE * max(float(bill @ self.low[:n]), 0.0))
        variance = float((bill**2) @ (self.scale[:n] ** 2)) + float(((bill @ self.spread[:n]) ** 2).sum()) \
            - float(((bill @ self.seen[:n]) ** 2).sum())
        return value, math.sqrt(max(variance, 0.0) + self.places**2 + (self.noise * value) ** 2 + self.step**2 / 12)


def learn(prior: Prior, x: np.ndarray, y: np.ndarray, step: float = 0.0,
          trust: Sequence[float] | np.ndarray | None = None) -> Posterior:
    """The posterior after measurements: networks [network, column], ms, how they were rounded, and how much each is
    trusted (its noise variance is divided by that)."""
    usual = np.maximum(x @ prior.mean, LEAST_SHARE)
    scale = float(np.exp(np.median(np.log(y / usual))))
    t, mean = y / scale, x @ prior.mean
    products = [part @ part.T for part in prior.parts(x)]
    level = LEVEL * np.outer(mean, mean)
    used = np.array([bool(product.any()) for product in products] + [True])
    doubt = 1 / (np.ones(len(y)) if trust is None else np.maximum(np.asarray(trust, float), 1e-6))
    size, logs = usual, BEFORE.copy()

    def covariances(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        signal = level + sum(math.exp(log) * product for log, product in zip(logs, products, strict=False))
        return signal, (math.exp(logs[-1]) * size**2 + (step / scale) ** 2 / 12) * doubt + JITTER

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        signal, noise = covariances(logs)
        inverse = np.linalg.inv(signal + np.diag(noise))
        weights = inverse @ (t - mean)
        value = 0.5 * (t - mean) @ weights - 0.5 * np.linalg.slogdet(inverse)[1]
        outer = inverse - np.outer(weights, weights)
        slopes = [0.5 * math.exp(log) * float((outer * product).sum())
                  for log, product in zip(logs, products, strict=False)]
        slopes.append(0.5 * math.exp(logs[-1]) * float((np.diag(outer) * size**2 * doubt).sum()))
        away = (logs - BEFORE) / SPREAD
        return value + 0.5 * float(away @ away), (np.array(slopes) + away / SPREAD) * used

    bounds = list(zip(BEFORE - 4 * SPREAD, BEFORE + 4 * SPREAD, strict=True))
    for _ in range(2):          # noise is relative to the latency, which the first round finds
        found = minimize(loss, logs, jac=True, method="L-BFGS-B", bounds=bounds)
        logs = found.x
        signal, noise = covariances(logs)
        weights = np.linalg.solve(signal + np.diag(noise), t - mean)
        size = np.maximum(mean + signal @ weights, 0.1 * usual)
    signal, noise = covariances(logs)
    return conditioned(prior, x, t - mean, logs, signal + np.diag(noise), scale, step, -float(found.fun))


def conditioned(prior: Prior, x: np.ndarray, rest: np.ndarray, logs: np.ndarray, covariance: np.ndarray, scale: float,
                step: float, evidence: float) -> Posterior:
    """The list's mean and covariance, given what the measurements are off the prior mean."""
    own = np.sqrt(np.exp(logs[1]) * prior.terms**2 + np.exp(logs[2]) * prior.codes**2)
    spread = np.concatenate([math.sqrt(LEVEL) * prior.mean[:, None], math.exp(logs[0] / 2) * prior.directions], axis=1)
    across = own[:, None] ** 2 * x.T + spread @ (spread.T @ x.T)        # covariance of the list with the measurements
    root = np.linalg.cholesky(covariance)
    seen = np.linalg.solve(root, across.T).T
    mean = prior.mean + seen @ np.linalg.solve(root, rest)
    return Posterior(mean * scale, prior.mean * scale, own * scale, spread * scale, seen * scale,
                     math.exp(logs[-1] / 2), step, evidence,
                     math.exp(logs[2] / 2) * scale if prior.codes.any() else 0.0)
