"""Reads a float network from ONNX: every operator, every shape, every constant, and the range of every value.

Shapes and constants are not inferred but observed: the network is run by onnxruntime on calibration inputs with all
its values as outputs. What depends on constants and shapes alone is a constant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from archfab.core import BuildError, UsageError
from archfab.hardware.onnx_file import inlined

LARGEST = 1 << 26       # elements of one value: what is larger is refused before memory runs out
BYTES = 1 << 31         # of a whole file: protobuf's limit
NOISE_SAMPLES = 4
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}


@dataclass
class Value:
    """A tensor of the float network: its shape, its number where it is constant, else its range."""

    shape: tuple[int, ...]
    data: np.ndarray | None = None
    low: float = np.inf
    high: float = -np.inf

    def see(self, x: np.ndarray) -> None:
        """Widens the range."""
        if x.size:
            self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))


@dataclass
class Operator:
    """One ONNX operator with its attributes as plain values."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)     # weights, once they are folded in

    @property
    def out(self) -> str:
        return self.outputs[0]


@dataclass
class Float:
    """A float network whose operators all need the input; in an order in which they can run."""

    operators: list[Operator]
    values: dict[str, Value]
    inputs: list[str]
    outputs: list[str]

    def constant(self, name: str) -> np.ndarray | None:
        return self.values[name].data if name else None


def read(source: Any, calibration: Sequence[np.ndarray | Sequence[np.ndarray]] | None = None) -> Float:
    """A network from an `onnx.ModelProto`, its bytes, or its path.

    :param calibration: samples, each one array (or one for each input) of the shapes of the inputs; without them
        four samples of N(0, 1), seed 0: good enough for costs, which do not depend on values, not for accuracy.
    :raises UsageError: where it is no ONNX, or shapes are not fixed, or it is not in float32.
    """
    from archfab.hardware.int8.decompositions import decomposed
    model = checked(parsed(source))
    constants = {x.name for x in model.graph.initializer}
    inputs = [x for x in model.graph.input if x.name not in constants]
    fix_shapes(inputs)
    model = decomposed(model)
    samples = list(feeds(inputs, calibration))
    return observed(model, [x.name for x in inputs], samples)


def parsed(source: Any) -> Any:
    """The model as protobuf, functions inlined."""
    import onnx
    try:
        if isinstance(source, str | Path):
            source = Path(source).read_bytes()
        if isinstance(source, bytes):
            source = onnx.load_model_from_string(source)
    except OSError as error:
        raise UsageError(f"cannot read '{source}': {error.strerror or error}") from None
    except Exception as error:
        raise UsageError(f"this is no ONNX file: {first_line(error)}") from None
    if not isinstance(source, onnx.ModelProto):
        raise UsageError(f"a network is an onnx.ModelProto, its bytes or its path, not {type(source).__name__}")
    if any(x.data_location == onnx.TensorProto.EXTERNAL for x in source.graph.initializer):
        raise UsageError("the weights lie in another file; save the model with its weights inside: "
                         "onnx.save(onnx.load(PATH), NEW, save_as_external_data=False)")
    model = onnx.ModelProto()
    model.CopyFrom(source)
    return inlined(model)


def checked(model: Any) -> Any:
    """The model, if it is valid ONNX in float32."""
    import onnx
    if not any(entry.domain in ("", "ai.onnx") for entry in model.opset_import):
        raise UsageError("this ONNX model does not say which opset it is written in (opset_import)")
    if not model.graph.input or not model.graph.output:
        raise UsageError("this ONNX model has no " + ("outputs" if model.graph.input else "inputs"))
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise UsageError(f"this is no valid ONNX model: {first_line(error)}") from None
    halves = {getattr(onnx.TensorProto, name): name.lower() for name in ("FLOAT16", "BFLOAT16", "DOUBLE")}
    for item in model.graph.input:
        kind = item.type.tensor_type.elem_type
        if kind in halves:
            raise UsageError(f"the input '{item.name}' is {halves[kind]}; export the network in float32")
        if kind != onnx.TensorProto.FLOAT and item.name not in {x.name for x in model.graph.initializer}:
            name = onnx.TensorProto.DataType.Name(kind).lower() if kind else "no tensor"
            raise UsageError(f"the input '{item.name}' is {name}; integer networks take float32 inputs")
    for weight in model.graph.initializer:
        if weight.data_type in halves:
            raise UsageError(f"the weights '{weight.name}' are {halves[weight.data_type]}; export the network in "
                             "float32")
    return model


def fix_shapes(inputs: Iterable[Any]) -> None:
    """Sets a free batch to 1; no other axis may be free."""
    for item in inputs:
        axes = item.type.tensor_type.shape.dim
        if not item.type.tensor_type.HasField("shape") or not axes:
            raise UsageError(f"the input '{item.name}' has no shape; export the network with fixed shapes")
        if not axes[0].dim_value:
            axes[0].dim_value = 1
        for i, axis in enumerate(axes):
            if not axis.dim_value:
                raise UsageError(f"the input '{item.name}' has no fixed length along axis {i}"
                                 f"{f' ({axis.dim_param})' if axis.dim_param else ''}; fix it and export again")
            if axis.dim_value < 0:
                raise UsageError(f"the input '{item.name}' has the length {axis.dim_value} along axis {i}")
        if axes[0].dim_value != 1:
            raise UsageError(f"the input '{item.name}' is a batch of {axes[0].dim_value}; integer networks take one "
                             "sample at a time: export the network with batch 1")
        if np.prod([float(axis.dim_value) for axis in axes]) > LARGEST:
            raise UsageError(f"the input '{item.name}' has more than {LARGEST} numbers")


def feeds(inputs: Sequence[Any], calibration: Sequence[Any] | None) -> Iterable[dict[str, np.ndarray]]:
    """What the network is run on, sample by sample."""
    shapes = {item.name: tuple(axis.dim_value for axis in item.type.tensor_type.shape.dim) for item in inputs}
    if calibration is None:
        rng = np.random.default_rng(0)
        for _ in range(NOISE_SAMPLES):
            yield {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        return
    if not len(calibration):
        raise UsageError("no calibration samples; give at least one")
    for sample in calibration:
        arrays = [sample] if isinstance(sample, np.ndarray) else list(sample)
        found = [np.asarray(x, np.float32) for x in arrays]
        if [x.shape for x in found] != list(shapes.values()):
            raise UsageError(f"a calibration sample has the shapes {[x.shape for x in found]}; the network takes "
                             f"{list(shapes.values())}")
        if not all(np.isfinite(x).all() for x in found):
            raise UsageError("a calibration sample has numbers that are not finite")
        yield dict(zip(shapes, found, strict=True))


def observed(model: Any, inputs: list[str], samples: list[dict[str, np.ndarray]]) -> Float:
    """Runs the network and notes what every value is."""
    import onnx
    from onnx import numpy_helper
    nodes = list(model.graph.node)
    outputs = [x.name for x in model.graph.output]
    constants = {x.name: numpy_helper.to_array(x) for x in model.graph.initializer}
    values = {name: Value(data.shape, data) for name, data in constants.items()}
    names = [name for node in nodes for name in node.output if name]
    session = session_of(model, names, onnx) if names else None
    fixed = set(constants)
    for node in nodes:
        if node.op_type in ("Shape", "Size") or (node.op_type not in RANDOM and all(
                name in fixed for name in node.input if name) and not subgraphs(node, onnx)):
            fixed.update(node.output)
    for sample in samples:
        for name, x in sample.items():
            values.setdefault(name, Value(x.shape)).see(x)
        for name, x in zip(names, execute(session, names, sample), strict=True):
            if name in fixed:
                values[name] = Value(np.shape(x), np.asarray(x))
                continue
            if not isinstance(x, np.ndarray):
                raise BuildError(f"the value '{name}' is no tensor")
            if not x.size:
                raise BuildError(f"the value '{name}' is empty: its shape is {list(x.shape)}")
            if x.dtype == np.float32 and not np.isfinite(x).all():
                raise BuildError(f"the value '{name}' is not finite on the calibration inputs")
            values.setdefault(name, Value(x.shape))
            if values[name].shape != x.shape:
                raise BuildError(f"the shape of '{name}' depends on the input's numbers")
            if x.dtype == np.float32:
                values[name].see(x)
    operators = [Operator(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}",
                          list(node.input), list(node.output), attributes_of(node, onnx))
                 for node in nodes if not all(name in fixed for name in node.output)]
    if unknown := [name for name in outputs if name not in values]:
        raise UsageError(f"nothing computes the output '{unknown[0]}'")
    return Float(needed(operators, outputs), values, inputs, outputs)


def session_of(model: Any, names: list[str], onnx: Any) -> Any:
    """The network in onnxruntime, with all values as outputs."""
    import onnxruntime
    del model.graph.output[:]
    model.graph.output.extend([onnx.ValueInfoProto(name=name) for name in names])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UsageError(f"onnxruntime does not take this network: {first_line(error)}") from None


def execute(session: Any, names: list[str], sample: dict[str, np.ndarray]) -> list[Any]:
    if session is None:
        return []
    wanted = {item.name for item in session.get_inputs()}
    try:
        return session.run(names, {name: x for name, x in sample.items() if name in wanted})
    except Exception as error:
        raise BuildError(f"onnxruntime cannot run this network: {first_line(error)}") from None


def subgraphs(node: Any, onnx: Any) -> bool:
    return any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute)


def attributes_of(node: Any, onnx: Any) -> dict[str, Any]:
    """Attributes as Python values; text is text."""
    found = {}
    for attribute in node.attribute:
        if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            continue
        value = onnx.helper.get_attribute_value(attribute)
        found[attribute.name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    return found


def needed(operators: Sequence[Operator], outputs: Iterable[str]) -> list[Operator]:
    """The operators that an output depends on."""
    wanted, kept = set(outputs), []
    for operator in reversed(operators):
        if wanted & set(operator.outputs):
            wanted.update(operator.inputs)
            kept.append(operator)
    return kept[::-1]


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
