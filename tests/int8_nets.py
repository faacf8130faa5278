"""What the tests of integer networks share: LiteRT as the oracle, random layers, small ONNX models."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from archfab.hardware.int8 import reference, tflite
from archfab.hardware.int8.graph import FULL, Graph, Node, Tensor


def litert(graph, samples):
    """The outputs of TensorFlow Lite's reference kernels for our .tflite file, sample by sample."""
    made = pytest.importorskip("ai_edge_litert.interpreter", reason="the oracle: pip install ai-edge-litert")
    interpreter = made.Interpreter(model_content=tflite.write(graph), num_threads=1,
                                   experimental_op_resolver_type=made.OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    slots, results = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for sample in samples:
        for slot, x in zip(slots, sample, strict=True):
            interpreter.set_tensor(slot["index"], x)
        interpreter.invoke()
        found.append([interpreter.get_tensor(slot["index"]) for slot in results])
    return found


def same_as_litert(graph, rng, number=2, low=-128):
    """Our numbers are LiteRT's, for random inputs."""
    samples = [[rng.integers(low, 128, graph.tensors[i].shape).astype(np.int8) for i in graph.inputs]
               for _ in range(number)]
    for theirs, sample in zip(litert(graph, samples), samples, strict=True):
        for a, b in zip(reference.run(graph, sample), theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def activation(rng, name, shape, low=0.005, high=0.2):
    return Tensor(name, tuple(shape), "int8", (single(rng.uniform(low, high)),), int(rng.integers(-128, 128)))


def single(x):
    return float(np.float32(x))


def weights(rng, x, shape, axis, channels, scales=None):
    """Random weights with a scale for each channel, and biases."""
    scales = rng.uniform(0.001, 0.02, channels) if scales is None else scales
    scales = tuple(map(single, scales))
    w = Tensor("w", shape, "int8", scales, 0, axis, rng.integers(-127, 128, shape).astype(np.int8))
    b = Tensor("b", (channels,), "int32", tuple(single(x.scale[0] * s) for s in scales), 0, 0,
               rng.integers(-3000, 3000, channels).astype(np.int32))
    return w, b


def layer(op, inputs, constants, output, **options):
    """A graph of one operator."""
    tensors = (*inputs, *constants, output)
    count = len(inputs)
    return Graph(tensors, (Node(op, tuple(range(len(tensors) - 1)), (len(tensors) - 1,), options),),
                 tuple(range(count)), (len(tensors) - 1,))


def window(size, kernel, stride, dilation, before, after):
    """How many outputs a convolution has along one axis."""
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


def model(nodes, inputs, outputs, constants=None, opset=17):
    """An ONNX model: nodes as (kind, inputs, outputs, attributes), inputs by shape."""
    made = [helper.make_node(kind, i, o, **a) for kind, i, o, a in nodes]
    held = [numpy_helper.from_array(np.asarray(x), name) for name, x in (constants or {}).items()]
    graph = helper.make_graph(
        made, "net", [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)          # outputs need a shape


def floats(onnx_model, sample):
    """What onnxruntime computes."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(onnx_model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [slot.name for slot in session.get_inputs()]
    return session.run(None, dict(zip(names, sample, strict=True)))


__all__ = ["FULL", "activation", "floats", "layer", "litert", "model", "same_as_litert", "single", "weights", "window"]
