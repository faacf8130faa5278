"""What translations of ONNX operators share: the refusal, constant inputs, and how one operator is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from archfab.hardware.int8.float_model import Float, Operator


class NoForm(Exception):
    """This operator, as it stands here, has no integer form; the message says why."""


Translation = Callable[[Operator, Float], list[Operator]]


def numbers(operator: Operator, network: Float, place: int, attribute: str = "") -> np.ndarray | None:
    """A constant input, or the attribute that earlier opsets had in its place."""
    if len(operator.inputs) > place and operator.inputs[place]:
        data = network.constant(operator.inputs[place])
        if data is None:
            raise NoForm(f"input {place} is computed")
        return data
    found = operator.attributes.get(attribute)
    return None if found is None else np.asarray(found)


def weights(operator: Operator, network: Float, place: int) -> np.ndarray:
    found = numbers(operator, network, place)
    if found is None:
        raise NoForm(f"input {place} is missing")
    return np.asarray(found, np.float64)


def one(kind: str, operator: Operator, inputs: Sequence[str] | None = None, arrays: dict[str, np.ndarray] | None = None,
        **attributes: Any) -> list[Operator]:
    """One operator of a kind in an ONNX operator's place."""
    return [Operator(kind, list(operator.inputs[:1] if inputs is None else inputs), operator.outputs[:1], attributes,
                     arrays or {})]


def shape(network: Float, name: str) -> tuple[int, ...]:
    return network.values[name].shape
