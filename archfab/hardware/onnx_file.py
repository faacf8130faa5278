"""An ONNX file as a workload: the operators of its graph, with shapes inferred or, where that fails, found by a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from archfab.core import UsageError
from archfab.hardware.network import Network
from archfab.hardware.onnx_nodes import Reader, Type, type_name, weights
from archfab.hardware.workload import Workload

if TYPE_CHECKING:
    import onnx
    import torch


def record_onnx(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]] | None = None) -> Workload:
    """The workload of an ONNX model on inputs of the shapes that it says, or of `shapes`; a batch that may be of any
    size is 1.

    :raises UsageError: where it is no valid model, or a shape is not known.
    """
    model = settled(inlined(model), shapes or {})
    reader = Reader(model, known_types(model))
    for node in model.graph.node:
        reader.take(node)
    return replace(reader.workload(), network=Network(model=model))


def read_onnx(path: Path | str) -> onnx.ModelProto:
    """An ONNX file, checked; weights in files beside it are read too."""
    import onnx
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path}")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        return model
    except Exception as error:
        raise UsageError(f"{path} is no ONNX model that can be read: {(str(error).splitlines() or ['?'])[0]}") from None


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own: their operators stand where they are called."""
    import onnx.inliner
    try:
        return onnx.inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:
        raise UsageError("the functions of this ONNX model cannot be inlined: "
                         f"{(str(error).splitlines() or ['?'])[0]}") from None


def settled(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """The model for inputs of one shape."""
    import onnx
    model_ = onnx.ModelProto()
    model_.CopyFrom(model)
    constants = {each.name for each in model_.graph.initializer}
    inputs = [each for each in model_.graph.input if each.name not in constants]
    if strange := sorted(shapes.keys() - {each.name for each in inputs}):
        raise UsageError(f"the model has no input '{strange[0]}'; it has: {', '.join(each.name for each in inputs)}")
    for each in inputs:
        if not each.type.HasField("tensor_type"):
            raise UsageError(f"the input '{each.name}' is no tensor")
        kind, asked = each.type.tensor_type, shapes.get(each.name)
        dims = kind.shape.dim
        if not kind.HasField("shape"):
            if asked is None:
                raise UsageError(f"the model does not say the shape of the input '{each.name}'; say it: --shape "
                                 f"{each.name}=1x3x224x224, for instance")
            dims.extend(kind.shape.Dimension() for _ in asked)
        if asked is not None and len(asked) != len(dims):
            raise UsageError(f"the input '{each.name}' has {len(dims)} axes, not the {len(asked)} of "
                             f"{'x'.join(map(str, asked))}")
        for axis, dim in enumerate(dims):
            if asked is not None:
                dim.dim_value = int(asked[axis])
            elif dim.dim_value < 1 and axis == 0:
                dim.dim_value = 1
            elif dim.dim_value < 1:
                has = "x".join(str(d.dim_value) if d.dim_value > 0 else d.dim_param or "?" for d in dims)
                say = "x".join(str(d.dim_value if d.dim_value > 0 else 64) for d in dims)
                raise UsageError(f"the input '{each.name}' is {has}, whose axis {axis} may be of any size; say it: "
                                 f"--shape {each.name}={say}, for instance")
    return model_


def known_types(model: onnx.ModelProto) -> dict[str, Type]:
    """Shape and number type of every tensor by name."""
    import onnx
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception:
        inferred = model        # a run will show the shapes, or say what is wrong with them
    found = {name: (tuple(each.dims), type_name(code)) for name, each, code in weights(model.graph)}
    for each in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        kind = each.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in kind.shape.dim):
            found.setdefault(each.name, (tuple(dim.dim_value for dim in kind.shape.dim), type_name(kind.elem_type)))
    if all(name in found for node in model.graph.node for name in node.output if name):
        return found
    return {**types_by_running(model), **found}


def types_by_running(model: onnx.ModelProto) -> dict[str, Type]:
    """The types of all tensors, from a run on zeros: what depends on values cannot be inferred."""
    import onnx
    import onnxruntime
    open_ = onnx.ModelProto()
    open_.CopyFrom(model)
    there = {each.name for each in open_.graph.output}
    names = [name for node in open_.graph.node for name in node.output if name and name not in there]
    open_.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(open_.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feed = {slot.name: x.numpy() for slot, x in zip(session.get_inputs(), zeros(model), strict=True)}
        values = session.run(None, feed)
    except Exception as error:
        raise UsageError("some shapes in the model are not known, and it cannot be run to find them: "
                         f"{str(error).splitlines()[0]}") from None
    return {slot.name: (tuple(value.shape), str(value.dtype)) for slot, value
            in zip(session.get_outputs(), values, strict=True) if hasattr(value, "shape")}


def zeros(model: onnx.ModelProto) -> tuple[torch.Tensor, ...]:
    """Zeros for the inputs of a model whose shapes are settled."""
    import torch
    constants = {each.name for each in model.graph.initializer}
    return tuple(torch.zeros([dim.dim_value or 1 for dim in each.type.tensor_type.shape.dim],
                             dtype=getattr(torch, type_name(each.type.tensor_type.elem_type), torch.float32))
                 for each in model.graph.input if each.name not in constants)
