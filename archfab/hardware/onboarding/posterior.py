"""A new device's price list: a Gaussian that starts at what known devices have in common and has seen measurements.

y = w . x (1 + noise), w ~ N(m, .25 m m' + c sum_k v_k v_k' + t diag(s^2) + u diag(z^2)): m is the mean list of the
known devices, each scaled to the same median latency, v_k the directions in which these lists differ most, s and z the
scales of terms and codes, the ways of its own that a device has. c, t, u and the noise are not chosen but averaged over
a grid, weighted by their marginal likelihood and a prior, so that ten measurements do not make it too sure. Whatever is
rounded to whole units has a variance of a twelfth of the unit squared more. Latencies add up over terms, so all is
linear and in closed form; the mixture over the grid is kept by its mean and covariance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from archfab.hardware.onboarding.terms import TERMS

DIRECTIONS = 6
LEVEL = 0.25                            # variance of the mean list's own scale, once the scale is set
ALONG = (0.1, 0.3, 1.0, 3.0)            # c
OWN = (0.1, 1.0, 10.0)                  # of t and u together, around their usual values
USUAL_OWN = (3e-3, 3e-4)                # t and u
NOISES = (0.002, 0.005, 0.012, 0.03, 0.07, 0.16)
OWN_SPREAD, NOISE_MIDDLE, NOISE_SPREAD = 1.5, 0.05, 1.3     # log-normal priors
JITTER = 1e-7
LEAST_SHARE = 0.05                      # of the mean list's latency: no prediction is below
SMALL = 1e-12                           # share of a covariance that is left out


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

    def usual(self, x: np.ndarray) -> np.ndarray:
        """The mean list's relative latencies, never near zero."""
        return np.maximum(x @ self.mean, LEAST_SHARE)

    def features(self, x: np.ndarray) -> np.ndarray:
        """Features whose products are the prior covariance of latencies."""
        weighted = [part * math.sqrt(variance) for part, variance in zip(self.parts(x), (1.0, *USUAL_OWN), strict=True)]
        return np.concatenate([math.sqrt(LEVEL) * self.usual(x)[:, None], *weighted], axis=1)


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
    seen: np.ndarray            # [column, j] what the measurements took of that, ms
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


@dataclass(frozen=True)
class Grid:
    """The measurements under each point of the grid, latencies in units of `scale` ms."""

    scale: float
    rest: np.ndarray            # [network] measured less the mean list's
    shares: np.ndarray          # [point, part] variances of the parts: level, along, terms, codes
    noises: np.ndarray          # [point]
    plain: np.ndarray           # [point, network] noise variance of a measurement that is wholly trusted
    noise: np.ndarray           # [point, network] and as far as it is
    across: tuple[np.ndarray, ...]      # [column, network] each part's covariance of list and measurements
    inverses: np.ndarray        # [point, network, network]
    logs: np.ndarray            # [point] log evidence, prior included


def grid_of(prior: Prior, x: np.ndarray, y: np.ndarray, step: float,
            trust: Sequence[float] | np.ndarray | None) -> Grid:
    """Networks [network, column], ms, how they were rounded, and how far each is trusted: a usual noise variance is
    divided by that. The noise itself is learned from those with a trust of 1."""
    usual, mean = prior.usual(x), x @ prior.mean
    scale = float(np.exp(np.median(np.log(y / usual))))
    rest = y / scale - mean
    doubt = 1 / (np.ones(len(y)) if trust is None else np.maximum(np.asarray(trust, float), 1e-6))
    across = (np.outer(prior.mean, mean), prior.directions @ (prior.directions.T @ x.T),
              (prior.terms**2)[:, None] * x.T, (prior.codes**2)[:, None] * x.T)
    grid = np.array(list(product(ALONG, OWN, NOISES)))
    shares = np.stack([np.full(len(grid), LEVEL), grid[:, 0], *(usually * grid[:, 1] for usually in USUAL_OWN)], axis=1)
    plain = grid[:, 2:] ** 2 * usual**2 + (step / scale) ** 2 / 12 + JITTER
    noise = plain + (doubt - 1) * (NOISE_MIDDLE * usual) ** 2
    covariances = np.einsum("gi,inm->gnm", shares, np.stack([x @ part for part in across]))
    covariances += noise[:, :, None] * np.eye(len(y))
    roots, inverses = np.linalg.cholesky(covariances), np.linalg.inv(covariances)
    before = (np.log(grid[:, 1]) / OWN_SPREAD) ** 2 + (np.log(grid[:, 2] / NOISE_MIDDLE) / NOISE_SPREAD) ** 2
    logs = -0.5 * before - 0.5 * (inverses @ rest) @ rest - np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(1)
    return Grid(scale, rest, shares, grid[:, 2], plain, noise, across, inverses, logs)


def learn(prior: Prior, x: np.ndarray, y: np.ndarray, step: float = 0.0,
          trust: Sequence[float] | np.ndarray | None = None) -> Posterior:
    """The posterior after measurements (see `grid_of`)."""
    grid = grid_of(prior, x, y, step, trust)
    weights = np.exp(grid.logs - grid.logs.max())
    evidence = float(grid.logs.max() + np.log(weights.sum()))
    weights /= weights.sum()
    fitted = grid.inverses @ grid.rest
    pulls = (grid.shares[:, :, None] * fitted[:, None, :]).reshape(len(weights), -1)       # [point, part x network]
    pull = weights @ pulls
    taken = np.einsum("g,gi,gj,gnm->injm", weights, grid.shares, grid.shares, grid.inverses, optimize=True)
    between = ((pulls - pull) * weights[:, None]).T @ (pulls - pull)
    basis = np.concatenate(grid.across, axis=1)
    more, seen = split(basis, between - taken.reshape(len(pull), len(pull)))
    level, along, terms, codes = weights @ grid.shares
    own = np.sqrt(terms * prior.terms**2 + codes * prior.codes**2)
    spread = np.concatenate([math.sqrt(level) * prior.mean[:, None], math.sqrt(along) * prior.directions, more], axis=1)
    scale = grid.scale
    return Posterior((prior.mean + basis @ pull) * scale, prior.mean * scale, own * scale, spread * scale, seen * scale,
                     math.sqrt(float(weights @ grid.noises**2)), step, evidence,
                     math.sqrt(codes) * scale if prior.codes.any() else 0.0)


def without_each(prior: Prior, x: np.ndarray, y: np.ndarray, step: float = 0.0,
                 trust: Sequence[float] | np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the other measurements say of each, in closed form: ms, deviation of a measurement, and their log evidence.

    With the inverse covariance K of all, the others have y_i = rest_i - (K rest)_i / K_ii with the variance 1 / K_ii,
    and the evidence of all over the density of y_i (Rasmussen and Williams 2006, section 5.4.2).
    """
    grid = grid_of(prior, x, y, step, trust)
    variance = 1 / np.diagonal(grid.inverses, axis1=1, axis2=2)            # [point, network]
    off = (grid.inverses @ grid.rest) * variance
    logs = grid.logs[:, None] + 0.5 * off**2 / variance + 0.5 * np.log(variance)
    weights = np.exp(logs - logs.max(0))
    evidence = logs.max(0) + np.log(weights.sum(0))
    weights /= weights.sum(0)
    means = grid.rest - off
    mean = (weights * means).sum(0)
    square = (weights * (means**2 + np.maximum(variance - grid.noise, 0) + grid.plain)).sum(0)
    value = np.maximum(x @ prior.mean + mean, LEAST_SHARE * prior.usual(x))
    return value * grid.scale, np.sqrt(np.maximum(square - mean**2, JITTER)) * grid.scale, evidence


def split(basis: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """basis middle basis' as a a' - b b': what is added to a covariance, and what is taken from it."""
    q, r = np.linalg.qr(basis)
    values, vectors = np.linalg.eigh(r @ middle @ r.T)
    least = SMALL * max(float(np.abs(values).max()), 1e-30)
    factors = q @ vectors * np.sqrt(np.abs(values))
    return factors[:, values > least], factors[:, values < -least]
