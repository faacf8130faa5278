"""Makes a float network smaller before it is quantised: what computes the same in one operator becomes one.

Norms and factors go into the weights before or after them, clips into the operator before them; square roots and
error functions become the functions that integer networks have.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np

from archfab.hardware.int8.float_model import Float, Operator, Value
from archfab.hardware.int8.translate import no_form

CLIPPED = ("conv", "conv_transpose", "linear", "affine", "add", "sub", "mul")
GELU_ROOT = 1 / math.sqrt(2)


def folded(network: Float) -> Float:
    """The same function in fewer operators.

    :raises BuildError: where a square root, an inverse or an error function is left over.
    """
    net = Folder(network)
    net.rename_identities()
    net.hard_sigmoids()
    net.inverse_roots()
    net.gelus()
    while net.scalars_up() or net.affine_back() or net.affine_on():
        pass
    net.hard_swishes()
    net.clips()
    names = {"erf": "Erf", "sqrt": "Sqrt", "inverse": "Reciprocal"}
    if left := {f"{names[o.kind]} (but in a normalisation or GELU)": o.out for o in net.operators if o.kind in names}:
        raise no_form(left)
    return Float(net.operators, network.values, network.inputs, net.outputs)


class Folder:
    """The operators, and who makes and who reads each value."""

    def __init__(self, network: Float) -> None:
        self.operators = [replace(o, attributes=dict(o.attributes)) for o in network.operators]
        self.values = network.values
        self.outputs = list(network.outputs)
        self.link()

    def link(self) -> None:
        self.maker = {name: o for o in self.operators for name in o.outputs}
        self.readers: dict[str, list[Operator]] = defaultdict(list)
        for operator in self.operators:
            for name in dict.fromkeys(operator.inputs):
                self.readers[name].append(operator)
        self.kept = Counter(self.outputs)

    def before(self, name: str, *kinds: str) -> Operator | None:
        """The operator that makes a value, if it is of these kinds and nobody else reads the value."""
        found = self.maker.get(name)
        alone = len(self.readers[name]) == 1 and not self.kept[name]
        return found if found is not None and alone and found.kind in kinds else None

    def reader(self, name: str, kind: str) -> Operator | None:
        """The only operator that reads a value, if it is of this kind."""
        found = self.readers[name]
        return found[0] if len(found) == 1 and not self.kept[name] and found[0].kind == kind else None

    def drop(self, *gone: Operator) -> None:
        self.operators = [o for o in self.operators if not any(o is other for other in gone)]
        self.link()

    def rename(self, old: str, new: str) -> None:
        for operator in self.operators:
            operator.inputs = [new if name == old else name for name in operator.inputs]
        self.outputs = [new if name == old else name for name in self.outputs]

    def rename_identities(self) -> None:
        for operator in [o for o in self.operators if o.kind == "identity"]:
            self.rename(operator.out, operator.inputs[0])
            self.drop(operator)

    def hard_sigmoids(self) -> None:
        """A factor after a clip goes before it, where it may meet weights."""
        for scale in [o for o in self.operators if o.kind == "affine" and o.attributes["axis"] is None]:
            factor, shift = (float(scale.arrays[key].reshape(-1)[0]) for key in ("scale", "shift"))
            clip = self.before(scale.inputs[0], "clip")
            if clip is None or factor <= 0 or not math.isfinite(clip.attributes["high"]):
                continue
            x, middle = self.values[clip.inputs[0]], scale.inputs[0]
            self.values[middle] = Value(x.shape, None, x.low * factor + shift, x.high * factor + shift)
            place = self.operators.index(clip)
            limits = {key: clip.attributes[key] * factor + shift for key in ("low", "high")}
            self.operators[place] = replace(scale, inputs=clip.inputs[:1], outputs=[middle])
            self.operators[self.operators.index(scale)] = replace(clip, inputs=[middle], outputs=scale.outputs,
                                                                  attributes=limits)
            self.link()

    def inverse_roots(self) -> None:
        """1 / sqrt(x + epsilon) in one; a small epsilon goes, for the operator is defined at 0."""
        for inverse in [o for o in self.operators if o.kind == "inverse"]:
            root = self.maker.get(inverse.inputs[0])
            if root is None or root.kind != "sqrt" or self.kept[root.out]:
                continue
            below = self.values[root.inputs[0]]
            value = self.values[inverse.out]
            value.high = min(value.high, 1 / math.sqrt(max(below.high, 1e-30) / 510))
            inverse.kind, inverse.inputs = "unary", root.inputs[:1]
            inverse.attributes = {"function": "rsqrt", "options": {}}
            self.drop(*([root] if len(self.readers[root.out]) == 1 else []))
            shifted = self.maker.get(inverse.inputs[0])
            if shifted is not None and shifted.kind == "affine" and len(shifted.arrays["shift"]) == 1 \
                    and float(shifted.arrays["scale"][0]) == 1 and 0 <= shifted.arrays["shift"][0] < below.high / 255:
                inverse.inputs = shifted.inputs[:1]
                self.link()
                if not self.readers[shifted.out] and not self.kept[shifted.out]:
                    self.drop(shifted)

    def gelus(self) -> None:
        """x (1 + erf(x / sqrt 2)) / 2, wherever the half stands."""
        for erf in [o for o in self.operators if o.kind == "erf"]:
            inner = self.before(erf.inputs[0], "affine")
            outer = self.reader(erf.out, "affine")
            product = self.reader(outer.out, "mul") if outer is not None else None
            if inner is None or outer is None or product is None or not near(line(inner), (GELU_ROOT, 0)):
                continue
            x, (factor, shift) = inner.inputs[0], line(outer)
            other = next((name for name in product.inputs if name != outer.out), None)
            last, gone = product, [inner, erf, outer]
            if other != x:
                half = self.before(other, "affine") if other else None
                if half is None or half.inputs[0] != x or line(half)[1]:
                    continue
                factor, shift, gone = factor * line(half)[0], shift * line(half)[0], [*gone, half]
            after = self.reader(product.out, "affine")
            if near((factor, shift), (1, 1)) and after is not None and not line(after)[1]:
                last, gone = after, [*gone, product]
                factor, shift = (number * line(after)[0] for number in (factor, shift))
            if near((factor, shift), (0.5, 0.5)):
                last.kind, last.inputs, last.arrays = "unary", [x], {}
                last.attributes = {"function": "gelu", "options": {"approximate": False}}
                self.drop(*gone)

    def scalars_up(self) -> bool:
        """A factor after reshapes and transposes goes into the weights before them."""
        for scale in self.operators:
            if scale.kind != "affine" or scale.attributes["axis"] is not None or scale.arrays["shift"].any():
                continue
            chain = []
            found = self.before(scale.inputs[0], "reshape", "transpose")
            while found is not None:
                chain.append(found)
                found = self.before(found.inputs[0], "reshape", "transpose", "conv", "linear")
                if found is not None and found.kind in ("conv", "linear"):
                    break
            if not chain or found is None:
                continue
            factor = float(scale.arrays["scale"].reshape(-1)[0])
            found.arrays = {key: array * factor for key, array in found.arrays.items()}
            for name in [o.out for o in [*chain[1:], found]]:
                value = self.values[name]
                ends = sorted((value.low * factor, value.high * factor))
                self.values[name] = replace(value, low=ends[0], high=ends[1])
            chain[0].outputs = scale.outputs
            self.drop(scale)
            return True
        return False

    def affine_back(self) -> bool:
        """A factor and a shift for each channel go into the weights before them."""
        for affine in self.operators:
            if affine.kind != "affine":
                continue
            before = self.before(affine.inputs[0], "conv", "conv_transpose", "linear", "affine")
            axis = affine.attributes["axis"]
            last = len(self.values[affine.out].shape) - 1
            if before is None or "clip" in before.attributes:
                continue
            scale, shift = affine.arrays["scale"], affine.arrays["shift"]
            if before.kind == "affine":
                if None not in (axis, before.attributes["axis"]) and axis != before.attributes["axis"]:
                    continue
                before.arrays = {"scale": before.arrays["scale"] * scale,
                                 "shift": before.arrays["shift"] * scale + shift}
                before.attributes["axis"] = before.attributes["axis"] if axis is None else axis
            elif axis is None or axis == (last if before.kind == "linear" else 1):
                w, b = before.arrays["weights"], before.arrays["bias"]
                before.arrays = {"weights": w * scale.reshape(-1, *[1] * (w.ndim - 1)), "bias": b * scale + shift}
            else:
                continue
            before.outputs = affine.outputs
            self.drop(affine)
            return True
        return False

    def affine_on(self) -> bool:
        """A factor and a shift for each channel go into all weights after them."""
        for affine in self.operators:
            readers = self.readers[affine.out]
            if affine.kind != "affine" or "clip" in affine.attributes or self.kept[affine.out] or not readers:
                continue
            axis, last = affine.attributes["axis"], len(self.values[affine.out].shape) - 1
            shifted = bool(affine.arrays["shift"].any())
            if not all((o.kind == "linear" and axis in (None, last))
                       or (o.kind == "conv" and axis in (None, 1) and not (shifted and any(o.attributes["padding"])))
                       for o in readers):
                continue
            for reader in readers:
                take_in(reader, affine)
            self.drop(affine)
            return True
        return False

    def hard_swishes(self) -> None:
        """x times the clip of x / 6 + 1 / 2 between 0 and 1."""
        for product in [o for o in self.operators if o.kind == "mul" and len(o.inputs) == 2]:
            for x, gate in (product.inputs, product.inputs[::-1]):
                clip = self.before(gate, "clip")
                slope = self.before(clip.inputs[0], "affine") if clip is not None else None
                if clip is None or slope is None or slope.inputs[0] != x:
                    continue
                limits = (clip.attributes["low"], clip.attributes["high"])
                if near(line(slope), (1 / 6, 0.5)) and near(limits, (0, 1)):
                    product.kind, product.inputs = "unary", [x]
                    product.attributes = {"function": "hard_swish", "options": {}}
                    self.drop(clip, slope)
                    break

    def clips(self) -> None:
        """A clip goes into the operator before it."""
        for clip in [o for o in self.operators if o.kind == "clip"]:
            before = self.before(clip.inputs[0], *CLIPPED)
            if before is None:
                continue
            low, high = before.attributes.get("clip", (-math.inf, math.inf))
            before.attributes["clip"] = (max(low, clip.attributes["low"]), min(high, clip.attributes["high"]))
            before.outputs = clip.outputs
            self.drop(clip)


def line(affine: Operator) -> tuple[float, float]:
    """Factor and shift of an affine operator of one number each; not a number where there are several."""
    one = all(array.size == 1 for array in affine.arrays.values())
    scale, shift = (float(affine.arrays[key].reshape(-1)[0]) if one else math.nan for key in ("scale", "shift"))
    return scale, shift


def near(found: tuple[float, float], wanted: tuple[float, float]) -> bool:
    return bool(np.allclose(found, wanted, rtol=1e-3, atol=1e-6))


def take_in(reader: Operator, affine: Operator) -> None:
    """Weights that do what the affine operator before them did, too."""
    w, b = reader.arrays["weights"], reader.arrays["bias"]
    groups = reader.attributes.get("groups", 1)
    channels = w.shape[1] * groups
    scale, shift = (np.broadcast_to(affine.arrays[key], channels) for key in ("scale", "shift"))
    own = np.arange(channels).reshape(groups, -1).repeat(len(w) // groups, 0)       # the inputs of each output
    spread = (len(w), w.shape[1], *[1] * (w.ndim - 2))
    added = (w * shift[own].reshape(spread)).sum(tuple(range(1, w.ndim)))
    reader.arrays = {"weights": w * scale[own].reshape(spread), "bias": b + added}
    reader.inputs = affine.inputs[:1]
