"""The share of dies without a killing defect, by the closed forms, and which density a share means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from archfab.core import UsageError, unknown
from archfab.silicon.yields.checks import above_zero, from_zero, share

MODELS = {
    "poisson": "e^-x: defects fall independently of each other",
    "murphy": "((1 - e^-x)/x)^2: the density varies triangularly between 0 and twice its mean",
    "seeds-exponential": "e^-sqrt(x): the other form that is called Seeds",
    "seeds": "1/(1 + x): the density varies exponentially",
    "bose-einstein": "(1 + x)^-n: n critical layers, each with the density D0",
    "negative-binomial": "(1 + x/alpha)^-alpha: the density varies as a gamma law of shape alpha",
}
"""Each model's name, and what it says with x = D0 A, the mean number of killing defects on a die."""


def good_die_yield(area_mm2: Any, d0_per_cm2: Any, alpha: Any = None, model: str = "negative-binomial",
                   layers: Any = None) -> Any:
    """The share of dies that no killing defect hits.

    Poisson; Murphy (Proc. IEEE 1964); Seeds (IEEE IEDM 1967), in both forms that bear the name; Bose-Einstein (Price,
    Proc. IEEE 1970); negative binomial (Stapper, IEEE TED 1973): `MODELS` has the formulas.

    :param area_mm2: of one die, in mm2; a number or an array.
    :param d0_per_cm2: killing defects per cm2; 0 is a yield of 1. Of `bose-einstein`: of each layer.
    :param alpha: of `negative-binomial`: small is clustered; inf is the Poisson model, and at 0 all defects sit on a
        vanishing share of the dies, so that the yield is 1.
    :param layers: of `bose-einstein`.
    :returns: a float, or an array where one was given.
    :raises UsageError: an unknown model, a negative or infinite figure, a parameter that is missing.
    """
    x = from_zero("an area in mm2", area_mm2) * from_zero("a defect density per cm2", d0_per_cm2) / 100
    return plain(yield_at(x, model, alpha, layers))


def yield_at(x: Any, model: str, alpha: Any = None, layers: Any = None) -> np.ndarray:
    """The yield at a mean number of killing defects `x` on a die, as `good_die_yield` says."""
    x = from_zero("a number of defects on a die", x)
    if model == "poisson":
        return np.exp(-x)
    if model == "murphy":
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(x == 0, 1.0, (-np.expm1(-x) / x) ** 2)
    if model == "seeds-exponential":
        return np.exp(-np.sqrt(x))
    if model == "seeds":
        return 1 / (1 + x)
    if model == "bose-einstein":
        return np.exp(-_layers(layers) * np.log1p(x))
    if model == "negative-binomial":
        return _negative_binomial(x, _alpha(alpha))
    raise unknown("yield model", model, list(MODELS))


def d0_of_yield(good: float, area_mm2: float, model: str = "negative-binomial", alpha: float | None = None,
                layers: float | None = None) -> float:
    """The defect density per cm2 that a yield means: the inverse of `good_die_yield`.

    :param good: the share of good dies, above 0 and at most 1.
    :raises UsageError: no yield, or none that the model reaches: alpha = 0 always yields 1.
    """
    good = float(share("a yield", good))
    area = float(above_zero("an area in mm2", area_mm2))
    logarithm = -np.log(good)
    if model == "murphy":
        x = _root(lambda x: float(yield_at(x, "murphy")) - good)
    elif model == "negative-binomial":
        shape = float(_alpha(alpha))
        if shape == 0 and good < 1:
            raise UsageError("with alpha = 0 every yield is 1, so that no density explains a lower one; give a larger "
                             "alpha")
        x = logarithm if np.isinf(shape) else shape * np.expm1(logarithm / shape) if shape else 0.0
    else:
        inverse: dict[str, Callable[[], float]] = {
            "poisson": lambda: logarithm, "seeds-exponential": lambda: logarithm ** 2,
            "seeds": lambda: 1 / good - 1, "bose-einstein": lambda: np.expm1(logarithm / _layers(layers))}
        if model not in inverse:
            raise unknown("yield model", model, list(MODELS))
        x = inverse[model]()
    return float(x) * 100 / area


def _root(function: Callable[[float], float]) -> float:
    from scipy.optimize import brentq
    if function(0.0) <= 0:
        return 0.0
    high = 1.0
    while function(high) > 0:
        high *= 2
    return float(brentq(function, 0.0, high, xtol=1e-14, rtol=1e-14))


def _negative_binomial(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    x, alpha = np.broadcast_arrays(x, alpha)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = x / alpha
        logarithm = np.where(np.isinf(ratio), np.log(x) - np.log(alpha), np.log1p(ratio))
        exponent = np.where(np.isinf(alpha), x, np.where(alpha == 0, 0.0, alpha * logarithm))
        return np.exp(-exponent)


def _alpha(alpha: Any) -> np.ndarray:
    if alpha is None:
        raise UsageError("the model 'negative-binomial' needs alpha, how strongly defects cluster: 0.3 to 5 in "
                         "published processes, inf for none (--alpha 2)")
    found = np.asarray(alpha, dtype=float)
    if np.isnan(found).any() or (found < 0).any():
        raise UsageError(f"alpha of {alpha} is impossible; give a number from 0 up, or inf for no clustering")
    return found


def _layers(layers: Any) -> np.ndarray:
    if layers is None:
        raise UsageError("the model 'bose-einstein' needs the number of critical layers (--layers 10)")
    return above_zero("a number of layers", layers)


def plain(values: np.ndarray) -> Any:
    """A float where there is one number, the array otherwise."""
    return float(values) if np.ndim(values) == 0 else values
