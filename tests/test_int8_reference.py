"""The numpy reference of integer networks: every operator equal, bit for bit, to TensorFlow Lite's own kernels."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_nets import FULL, activation, layer, litert, same_as_litert, single, weights, window

from archfab.core import BuildError
from archfab.hardware.int8 import reference, tflite
from archfab.hardware.int8.expressible import RELU, RELU6, RELU_N1_TO_1, range_of, same_padding
from archfab.hardware.int8.fixed_point import doubling_high_mul, multiplier_of, rounding_shift, scaled, scaled_once
from archfab.hardware.int8.graph import Graph, Node, Tensor
from archfab.hardware.int8.tables import TABLES, table

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
sizes, kernels, strides, dilations = st.integers(4, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)
paddings = st.tuples(*[st.integers(0, 2)] * 4)


# --- fixed point, against rational numbers

@given(st.floats(1e-6, 1e3))
def test_a_factor_is_held_to_31_bits(real):
    multiplier, shift = multiplier_of(real)
    assert 2**30 <= multiplier < 2**31
    assert Fraction(multiplier) * Fraction(2) ** (shift - 31) == pytest.approx(real, rel=2**-31)


@given(st.integers(-2**31, 2**31 - 1), st.integers(0, 31))
def test_a_rounding_shift_goes_to_the_nearest_and_ties_away_from_zero(x, bits):
    exact = Fraction(x, 2**bits)
    nearest = int(abs(exact) + Fraction(1, 2)) * (1 if x >= 0 else -1)
    assert int(rounding_shift(np.array(x), bits)) == nearest


@given(st.integers(-2**31, 2**31 - 1), st.integers(-2**31, 2**31 - 1))
def test_the_high_product_is_within_half_of_the_exact_one(a, b):
    found = int(doubling_high_mul(np.array(a), b))
    exact = Fraction(a * b, 2**31)
    assert abs(found - exact) <= Fraction(1, 2) or a == b == -2**31
    assert -2**31 <= found < 2**31


@given(st.integers(-2**24, 2**24), st.floats(1e-6, 0.999))
def test_rounding_once_is_exact_and_rounding_twice_is_off_by_at_most_one(x, real):
    multiplier, shift = multiplier_of(real)
    exact = Fraction(x * multiplier, 2**31) * Fraction(2) ** shift
    assert int(scaled_once(np.array(x), multiplier, shift)) == (exact + Fraction(1, 2)).__floor__()
    assert abs(int(scaled(np.array(x), multiplier, shift)) - exact) <= 1


def test_golden_where_once_and_twice_differ():
    assert int(scaled(np.array(3), 2**30, -2)) == 1         # 3/2 -> 2, 2/4 -> 1
    assert int(scaled_once(np.array(3), 2**30, -2)) == 0    # 3/8 -> 0


# --- every operator, against LiteRT

@few
@given(seeds, sizes, sizes, kernels, kernels, strides, dilations, paddings, st.sampled_from([1, 1, 2, 3]),
       st.sampled_from([FULL, (-60, 127), (-128, 20), (-7, 90)]))
def test_convolutions(rng, high, wide, tall, broad, stride, dilation, padding, groups, clamp):
    x = activation(rng, "x", (1, high, wide, 2 * groups))
    outputs = groups * int(rng.integers(1, 4))
    shape = (window(high, tall, stride, dilation, padding[0], padding[2]),
             window(wide, broad, stride, dilation, padding[1], padding[3]))
    if min(shape) < 1:
        return
    w, b = weights(rng, x, (outputs, tall, broad, 2), 0, outputs)
    y = activation(rng, "y", (1, *shape, outputs))
    same_as_litert(layer("conv_2d", [x], [w, b], y, stride=(stride, stride), dilation=(dilation, dilation),
                         padding=padding, clamp=clamp), rng)


@few
@given(seeds, sizes, sizes, kernels, kernels, strides, dilations, paddings, st.integers(1, 3))
def test_depthwise_convolutions(rng, high, wide, tall, broad, stride, dilation, padding, multiplier):
    x = activation(rng, "x", (1, high, wide, 3))
    shape = (window(high, tall, stride, dilation, padding[0], padding[2]),
             window(wide, broad, stride, dilation, padding[1], padding[3]))
    if min(shape) < 1:
        return
    w, b = weights(rng, x, (1, tall, broad, 3 * multiplier), 3, 3 * multiplier)
    y = activation(rng, "y", (1, *shape, 3 * multiplier))
    same_as_litert(layer("depthwise_conv_2d", [x], [w, b], y, stride=(stride, stride),
                         dilation=(dilation, dilation), padding=padding, clamp=FULL), rng)


@few
@given(seeds, st.integers(1, 5), st.integers(1, 5), kernels, kernels, strides, paddings)
def test_transposed_convolutions(rng, high, wide, tall, broad, stride, cut):
    x = activation(rng, "x", (1, high, wide, 3))
    sides = zip((high, wide), (tall, broad), cut[:2], cut[2:], strict=True)
    shape = [(n - 1) * stride + k - a - b for n, k, a, b in sides]
    if min(shape) < 1:
        return
    w, b = weights(rng, x, (4, tall, broad, 3), 0, 4)
    y = activation(rng, "y", (1, *shape, 4))
    same_as_litert(layer("transpose_conv", [x], [w, b], y, stride=(stride, stride), padding=cut,
                         clamp=(max(-128, y.zero), 127)), rng)


@few
@given(seeds, st.sampled_from([(1,), (5,), (1, 7), (1, 2, 3)]), st.integers(1, 70), st.integers(1, 40), st.booleans())
def test_fully_connected_layers_of_any_rank(rng, rows, inputs, outputs, per_channel):
    x = activation(rng, "x", (*rows, inputs))
    w, b = weights(rng, x, (outputs, inputs), 0, outputs)
    if not per_channel:
        w = replace(w, scale=w.scale[:1], axis=None)
        b = replace(b, scale=b.scale[:1], axis=None)
    y = activation(rng, "y", (*rows, outputs), 0.01, 0.1)
    same_as_litert(layer("fully_connected", [x], [w, b], y, clamp=FULL), rng, 4)


@few
@given(seeds, st.sampled_from(["add", "sub", "mul"]), st.sampled_from([(1, 5, 4, 3), (1, 1, 1, 3), (1, 1, 4, 1)]),
       st.booleans())
def test_arithmetic_with_broadcasts(rng, op, shape, swapped):
    a, b = activation(rng, "a", (1, 5, 4, 3)), activation(rng, "b", shape)
    y = activation(rng, "y", (1, 5, 4, 3))
    same_as_litert(layer(op, [b, a] if swapped else [a, b], [], y, clamp=(max(-128, y.zero), 127)), rng, 4)


@few
@given(seeds, sizes, sizes, st.integers(1, 3), strides, st.booleans())
def test_pools(rng, high, wide, kernel, stride, same):
    x = activation(rng, "x", (1, high, wide, 3))
    if same:
        shape = (-(-high // stride), -(-wide // stride))
        sides = [same_padding(n, o, kernel, stride, 1) for n, o in zip((high, wide), shape, strict=True)]
    else:
        shape, sides = ((high - kernel) // stride + 1, (wide - kernel) // stride + 1), [(0, 0), (0, 0)]
    padding = (sides[0][0], sides[1][0], sides[0][1], sides[1][1])
    y = replace(x, name="y", shape=(1, *shape, 3))
    for op in ("average_pool_2d", "max_pool_2d"):
        same_as_litert(layer(op, [x], [], y, kernel=(kernel, kernel), stride=(stride, stride), padding=padding), rng)


def test_a_maximum_pads_with_the_lowest_number_and_a_mean_that_cannot_be_written_is_refused():
    rng = np.random.default_rng(0)
    x = activation(rng, "x", (1, 6, 6, 2))
    options = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1, 0, 0)}
    y = replace(x, name="y", shape=(1, 3, 3, 2))
    same_as_litert(layer("max_pool_2d", [x], [], y, **options), rng)
    with pytest.raises(BuildError, match="average pooling with the padding"):
        tflite.write(layer("average_pool_2d", [x], [], y, **options))


@few
@given(seeds, st.sampled_from([(1, 2), (1,), (2,), (3,), (1, 2, 3)]), st.booleans())
def test_means_and_maxima_over_axes(rng, axes, keep):
    x = activation(rng, "x", (1, 5, 3, 6), 0.01, 0.1)
    shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes]
    y = activation(rng, "y", shape, 0.005, 0.1)
    same_as_litert(layer("mean", [x], [], y, axes=axes, keep=keep), rng, 4)
    same_as_litert(layer("reduce_max", [x], [], replace(x, name="y", shape=tuple(shape)), axes=axes, keep=keep), rng)


@few
@given(seeds, st.permutations(range(4)), st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2),
       st.integers(1, 2))
def test_moves(rng, permutation, sides, step):
    x = activation(rng, "x", (1, 4, 6, 5))

    def like(*shape):
        return replace(x, name="y", shape=shape)

    same_as_litert(layer("transpose", [x], [], like(*(x.shape[i] for i in permutation)), permutation=permutation), rng)
    around = ((0, 0), *sides, (0, 0))
    same_as_litert(layer("pad", [x], [], like(*(n + a + b for n, (a, b) in zip(x.shape, around, strict=True))),
                         paddings=around, value=x.zero), rng)
    same_as_litert(layer("strided_slice", [x], [], like(1, len(range(1, 4, step)), 5, 5), begin=(0, 1, 1, 0),
                         end=(1, 4, 6, 5), stride=(1, step, 1, 1)), rng)
    same_as_litert(layer("reshape", [x], [], like(1, 24, 5)), rng)
    same_as_litert(layer("resize_nearest_neighbor", [x], [], like(1, 4 * step, 6 * step, 5)), rng)
    y = replace(x, name="b", shape=(1, 4, 2, 5))
    same_as_litert(layer("concatenation", [x, y], [], like(1, 4, 8, 5), axis=2), rng)


@few
@given(seeds, st.integers(1, 12), st.booleans())
def test_products_of_matrices_and_softmax(rng, depth, transpose_b):
    a = activation(rng, "a", (1, 2, 5, depth))
    b = activation(rng, "b", (1, 2, 7, depth) if transpose_b else (1, 2, depth, 7))
    y = activation(rng, "y", (1, 2, 5, 7), 0.05, 0.5)
    same_as_litert(layer("batch_matmul", [a, b], [], y, transpose_b=transpose_b), rng)
    shares = Tensor("y", a.shape, "int8", (1 / 256,), -128)
    same_as_litert(layer("softmax", [a], [], shares, beta=1.0), rng, 4)


def test_softmax_on_many_rows():
    """Shares near a tie show arithmetic that only nearly is the same: in 100,000 numbers there are some."""
    rng = np.random.default_rng(7)
    for scale in (0.003, 0.03, 0.1, 0.25, 2.0):
        x = Tensor("x", (1, 1000, 20), "int8", (single(scale),), 0)
        same_as_litert(layer("softmax", [x], [], Tensor("y", x.shape, "int8", (1 / 256,), -128), beta=1.0), rng, 2)


OUTPUTS = {"logistic": (1 / 256, -128), "tanh": (1 / 128, 0)}
OPTIONS = {"gelu": [{"approximate": False}, {"approximate": True}], "leaky_relu": [{"alpha": 0.125}, {"alpha": 0.3}],
           "relu": [{"clamp": None}]}


@pytest.mark.parametrize("op", sorted(TABLES))
def test_every_entry_of_every_table(op):
    rng = np.random.default_rng(1)
    for options in OPTIONS.get(op, [{}]) * 12:
        x = activation(rng, "x", (1, 256), 0.003, 0.3)
        x = replace(x, zero=-128) if op == "rsqrt" else x       # it is defined for positive numbers alone
        scale, zero = OUTPUTS.get(op, (single(x.scale[0] * rng.uniform(0.02, 3)), int(rng.integers(-128, 128))))
        y = Tensor("y", (1, 256), "int8", (scale,), zero)
        if op == "relu":
            options = {"clamp": range_of(rng.choice([RELU, RELU6, RELU_N1_TO_1]), y)}
        graph = layer(op, [x], [], y, **options)
        everything = np.arange(-128, 128).astype(np.int8)[None]
        theirs = litert(graph, [[everything]])[0][0]
        np.testing.assert_array_equal(table(graph.nodes[0], x, y), theirs[0])
        np.testing.assert_array_equal(reference.run(graph, [everything])[0], theirs)


# --- without an oracle

def test_a_convolution_by_hand():
    x = Tensor("x", (1, 2, 2, 1), "int8", (0.5,), 1)
    w = Tensor("w", (1, 2, 2, 1), "int8", (0.25,), 0, 0, np.array([1, 2, 3, -4], np.int8).reshape(1, 2, 2, 1))
    b = Tensor("b", (1,), "int32", (0.125,), 0, 0, np.array([8], np.int32))
    y = Tensor("y", (1, 1, 1, 1), "int8", (0.25,), -3)
    graph = layer("conv_2d", [x], [w, b], y, stride=(1, 1), dilation=(1, 1), padding=(0, 0, 0, 0), clamp=FULL)
    values = np.array([3, 5, -1, 0], np.int8).reshape(1, 2, 2, 1)
    # real: x = 1, 2, -1, -0.5; w = .25, .5, .75, -1; sum 0.25 + 1 - 0.75 + 0.5 = 1, plus the bias 1 = 2 = 8 steps
    assert reference.run(graph, [values])[0].item() == 8 - 3
    assert graph.macs == 4 and graph.weights == 4 + 4


def test_a_residual_network_of_layers_equals_litert_and_its_name_follows_its_weights():
    rng = np.random.default_rng(3)
    x, y, z = (activation(rng, name, (1, 6, 6, 4)) for name in "xyz")
    w, b = weights(rng, x, (4, 3, 3, 4), 0, 4)
    conv = Node("conv_2d", (0, 3, 4), (1,), {"stride": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1),
                                            "clamp": (max(-128, y.zero), 127)})
    graph = Graph((x, y, z, w, b), (conv, Node("add", (0, 1), (2,), {"clamp": FULL})), (0,), (1, 2))
    same_as_litert(graph, rng)
    assert graph.digest == replace(graph).digest
    other = replace(graph, tensors=(x, y, z, replace(w, data=w.data ^ 1), b))
    assert other.digest != graph.digest and other.macs == graph.macs == 36 * 4 * 36


def test_the_file_is_one_that_tensorflows_own_reader_understands():
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="the oracle: pip install ai-edge-litert")
    rng = np.random.default_rng(4)
    x, y = activation(rng, "x", (1, 6, 6, 4)), activation(rng, "y", (1, 4, 4, 2))
    w, b = weights(rng, x, (2, 3, 3, 4), 0, 2)
    raw = tflite.write(layer("conv_2d", [x], [w, b], y, stride=(1, 1), dilation=(1, 1), padding=(0,) * 4, clamp=FULL),
                       "a description")
    assert raw[4:8] == b"TFL3"
    read = schema.ModelT.InitFromPackedBuf(raw, 0)
    assert read.version == 3 and read.description == b"a description" and len(read.subgraphs) == 1
    graph = read.subgraphs[0]
    assert [list(t.shape) for t in graph.tensors] == [[1, 6, 6, 4], [2, 3, 3, 4], [2], [1, 4, 4, 2]]
    assert graph.tensors[1].quantization.scale.tolist() == pytest.approx(list(w.scale))
    assert bytes(read.buffers[graph.tensors[1].buffer].data) == w.data.tobytes()
    assert list(graph.inputs) == [0] and list(graph.outputs) == [3]


def test_quantising_an_input_rounds_to_the_nearest_and_saturates():
    x = Tensor("x", (5,), "int8", (0.5,), 10)
    assert x.quantised(np.array([0.0, 0.25, -0.25, 1e9, -1e9])).tolist() == [10, 11, 9, 127, -128]
    assert x.real(np.array([10, 12], np.int8)).tolist() == [0.0, 1.0]
