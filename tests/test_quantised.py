"""Layers of few bits: LSQ's arithmetic, what a workload says of them, the lowerings, export, and the digits."""

import math
import random

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from test_tracing import plain
from torch import nn as tnn
from zoo import case, holds, made, normal, samples, shake

from archfab import CHANNELS, Space, UsageError, choose, nn, repeat
from archfab.core import Budget, BuildError
from archfab.deliver import check_onnx
from archfab.evaluate import load_device
from archfab.exporting import to_onnx
from archfab.hardware.kernels import fuse, operand_bits
from archfab.hardware.onnx_file import record_onnx
from archfab.hardware.tracing import _tracers, trace
from archfab.hardware.workload import Buffer, bits_of, record, record_genotype
from archfab.lowering.concrete import build
from archfab.nn.quantised import MODULES, quantise
from archfab.plan import plan
from archfab.space.descriptions import decode
from archfab.tasks.vision import Vision


def built(description, x, **genotype):
    torch.manual_seed(0)
    return build(Space(description), genotype, (x,))


def levels(x, step):
    """Which multiples of a step stand in a tensor."""
    return sorted(set(torch.round(x / step).int().flatten().tolist()))


# --- LSQ's arithmetic

class Round(torch.autograd.Function):
    """Straight through, as in the paper's appendix."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g


def as_in_the_paper(v, step, low, high, number):
    """LSQ as its appendix writes it, by autograd: gradscale, clip, roundpass."""
    scale = 1 / math.sqrt(number * high)
    step = (step - step * scale).detach() + step * scale
    return Round.apply((v / step).clamp(low, high)) * step


@pytest.mark.parametrize(("low", "high"), [(-2, 1), (-8, 7), (-128, 127), (0, 3), (0, 255)])
@pytest.mark.parametrize("per_channel", [False, True])
def test_values_and_gradients_are_those_of_the_paper(low, high, per_channel):
    x = (normal(5, 3, 4, 4).double() * 2).requires_grad_(True)
    spread = (normal(5, seed=2).double() if per_channel else torch.tensor(0.3).double()).requires_grad_(True)
    g = normal(5, 3, 4, 4, seed=3).double()
    y = quantise(x, spread, low, high, per_channel)
    of_x, of_spread = torch.autograd.grad(y, (x, spread), g)
    v = x.detach().requires_grad_(True)
    step = (spread.detach().exp() / math.sqrt(high)).requires_grad_(True)
    theirs = as_in_the_paper(v, step.reshape(-1, 1, 1, 1) if per_channel else step, low, high, 3 * 4 * 4)
    of_v, of_step = torch.autograd.grad(theirs, (v, step), g)
    assert torch.allclose(y, theirs) and torch.allclose(of_x, of_v)
    assert torch.allclose(of_spread, of_step * step)            # the logarithm's


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("layer", [nn.Conv2d(6, 3, padding=1, groups=2), nn.Conv1d(6, 3), nn.Conv3d(4, 2),
                                   nn.Linear(5)], ids=lambda layer: layer.target)
def test_a_layer_is_torchs_layer_on_rounded_numbers(layer, bits):
    x = {"Conv2d": normal(3, 4, 7, 7), "Conv1d": normal(3, 4, 9), "Conv3d": normal(2, 4, 5, 5, 5),
         "Linear": normal(3, 7)}[layer.target.rpartition(":")[2]]
    net, hand = built(nn.Quantised(layer, bits, bits), x), built(layer, x)
    assert torch.equal(net.weight, hand.weight) and isinstance(net, type(hand))
    net(x)      # in training: takes the steps
    steps = net.weight_spread.detach().exp() / math.sqrt(2 ** (bits - 1) - 1)
    assert torch.allclose(steps, 2 * net.weight.abs().flatten(1).mean(1) / math.sqrt(2 ** (bits - 1) - 1))
    assert torch.allclose(net.input_spread.exp(), 2 * x.abs().mean())
    x_, w_ = net.eval().rounded(x)
    for found, step in ((x_, net.input_spread.exp() / math.sqrt(2 ** (bits - 1) - 1)),
                        *((row, step) for row, step in zip(w_, steps, strict=True))):
        there = levels(found, step)
        assert -2 ** (bits - 1) <= there[0] and there[-1] <= 2 ** (bits - 1) - 1
        assert torch.allclose(found, torch.round(found / step) * step, atol=1e-6)
    with torch.no_grad():
        hand.weight.copy_(w_)
        assert torch.allclose(net(x), hand(x_), atol=1e-5)


def test_inputs_that_are_never_negative_use_all_levels():
    x = normal(64, 8).relu()
    for signed, lowest, highest in ((True, -2, 1), (False, 0, 3)):
        net = built(nn.Quantised(nn.Linear(4), None, 2, signed=signed), x)
        net(x)
        there = levels(net.eval().rounded(x)[0], net.input_spread.exp() / math.sqrt(highest))
        assert lowest <= there[0] and there[-1] == highest
        assert not hasattr(net, "weight_spread") and torch.equal(net.rounded(x)[1], net.weight)


def test_negative_inputs_where_none_were_promised_are_an_error():
    net = built(nn.Quantised(nn.Linear(4), 8, 8, signed=False), normal(2, 3))
    with pytest.raises(UsageError, match="signed=False got negative inputs"):
        net(normal(2, 3))


def test_the_first_training_step_alone_takes_the_steps():
    x = normal(8, 5)
    net = built(nn.Quantised(nn.Linear(3), 4, 4), x)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    net.eval()(x * 10)
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())
    net.train()(x * 10)
    first = net.input_spread.clone()
    assert torch.allclose(first.exp(), 2 * (10 * x).abs().mean())
    net(x)
    assert torch.equal(net.input_spread, first)
    other = built(nn.Quantised(nn.Linear(3), 4, 4), x)
    other.load_state_dict(net.state_dict())
    other(x * 1000)                                     # it has its steps, and keeps them
    assert torch.equal(other.input_spread, first) and torch.equal(other.eval()(x), net.eval()(x))


def test_a_fresh_network_rounds_normal_deviates_well_before_any_training():
    x = normal(512, 16)
    net = built(nn.Quantised(nn.Linear(8), 8, 8), x).eval()
    hand = tnn.functional.linear(x, net.weight, net.bias).detach()
    assert float((net(x).detach() - hand).abs().max()) < 0.2 * float(hand.abs().max())
    assert torch.equal(net(x), net(x))


# --- descriptions

def test_floating_point_is_the_layer_itself():
    assert nn.Quantised(nn.Linear(3), None, 32) .target == "torch.nn:Linear"
    assert Space(nn.ConvNormAct(8)).hash == Space(nn.ConvNormAct(8, bits=32)).hash
    net = built(nn.Quantised(nn.Linear(3), choose("bits", 4, 32), 32), normal(2, 5), bits=32)
    assert dict(net.named_parameters()).keys() == {"weight", "bias"}


def test_a_choice_of_bits_is_a_choice_of_the_space():
    bits = choose("bits", 2, 4, 8)
    space = Space([nn.ConvNormAct(8, bits=bits), nn.MBConv(8, bits=bits, signed=False), nn.Classifier(3, bits=bits)])
    assert space.size == 3 and space.labels == {"bits": (2, 4, 8)}
    assert Space.from_data(space.data).hash == space.hash
    assert decode(space.data["root"], space.data["choices"], {}) is not None
    net = build(space, {"bits": 4}, (normal(1, 1, 8, 8),))
    found = [(part.weight_bits, part.input_bits, part.signed) for part in net.modules()
             if isinstance(part, tuple(MODULES.values()))]
    assert found == [(4, 4, True), (4, 4, False), (4, 4, False), (4, 4, False), (4, 4, True)]
    assert "weight_bits=4, input_bits=4" in repr(net)


@pytest.mark.parametrize("bits", [0, 1, 17, -4, 4.0, "8", True, choose("bits", 4, 1)])
def test_other_numbers_of_bits_are_refused_where_they_are_written(bits):
    for key in ("weight_bits", "input_bits"):
        with pytest.raises(UsageError, match=f"{key} is a whole number from 2 to 16, or None or 32"):
            nn.Quantised(nn.Linear(3), **{key: bits})


@pytest.mark.parametrize(("layer", "message"), [
    (nn.BatchNorm2d(), r"takes a layer: nn.Conv1d\(...\), .* not BatchNorm2d\(\)"),
    (nn.ConvTranspose2d(3, 3), "takes a layer"), (tnn.Linear(3, 3), "takes a layer"), (8, "not 8"),
    (choose("op", a=nn.Linear(3), b=nn.Linear(4)), r"put it inside the options: choose\(name, one=nn.Quantised")])
def test_what_is_no_layer_is_refused_where_it_is_written(layer, message):
    with pytest.raises(UsageError, match=message):
        nn.Quantised(layer)


def test_bits_may_be_calculated():
    bits = choose("b", 1, 2)
    assert built(nn.Quantised(nn.Linear(3), bits * 4, bits + 1), normal(2, 5), b=2).weight_bits == 8
    for wrong in (bits * 20, CHANNELS):
        with pytest.raises(UsageError, match="weight_bits"):
            nn.Quantised(nn.Linear(3), wrong, 8)


# --- what is recorded

WIDTH = choose("width", 8, 16)
SPACE = Space([nn.ConvNormAct(WIDTH, 3, bits=8),
               repeat(choose("depth", 1, 2), lambda i: [
                   nn.MBConv(WIDTH, 3, 2, bits=choose(f"bits{i}", 2, 5, 32), signed=False), nn.ReLU()]),
               nn.Classifier(10, bits=8, signed=False)])
IMAGE = (torch.zeros(1, 1, 8, 8),)


def test_rounded_weights_are_kept_in_their_bits_and_rounded_inputs_written_in_theirs():
    genotype = {"width": 8, "depth": 1, "bits0": 2}
    workload = record_genotype(SPACE, genotype, IMAGE)
    kernels, buffers = fuse(workload), workload.buffers
    assert [(k.kind, k.names[-1], operand_bits(k, buffers, (8, 8, 8))) for k in kernels if k.loops] == [
        ("conv", "relu", (8, 8, 8)), ("pointwise", "quantise", (2, 2, 2)), ("depthwise", "quantise", (2, 2, 2)),
        ("pointwise", "native_batch_norm", (2, 2, 8)), ("linear", "addmm", (8, 8, 8))]
    assert [buffers[k.weights[0]].dtype for k in kernels if k.loops] == ["int8", "int2", "int2", "int2", "int8"]
    assert [buffers[k.reads[0]].dtype for k in kernels if k.loops] == ["int8", "uint2", "uint2", "uint2", "uint8"]
    assert operand_bits(kernels[-1], buffers, (8, 8, 16)) == (8, 8, 16)
    assert [k.biases for k in kernels if k.loops] == [16, 32, 32, 16, 20]      # a norm's or the layer's, and scales
    net, plainly = (build(space, genotype, IMAGE) for space in (SPACE, SPACE))
    assert workload.params == sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in plainly.parameters())
    assert workload.macs == record_genotype(SPACE, {**genotype, "bits0": 32}, IMAGE).macs
    assert not [op for op in workload.ops if op.kind == "unknown"]
    assert plain(record(net, IMAGE)) == plain(workload)


def test_fewer_bits_cost_less_where_a_device_counts_them():
    costs = [load_device("cortex-m7").cost(record_genotype(SPACE, {"width": 16, "depth": 1, "bits0": bits}, IMAGE))
             for bits in (2, 5, 32)]
    for name in ("memory_kb", "flash_kb"):
        two, five, eight = (each.figures[name].value for each in costs)
        assert two < five < eight or (name == "memory_kb" and two <= five <= eight)
    weights = 16 * 32 * 2 + 9 * 32           # of the block
    assert (costs[1].figures["flash_kb"].value - costs[0].figures["flash_kb"].value) * 1024 == weights * 3 / 8


def test_composed_is_whole_for_every_combination_of_bits():
    rng = random.Random(0)
    for _ in range(4):
        genotype = SPACE.sample(rng)
        assert plain(trace(SPACE, genotype, IMAGE)) == plain(record_genotype(SPACE, genotype, IMAGE))
    assert not _tracers[SPACE].entangled and not _tracers[SPACE].whole


class Shared(tnn.Module):
    """One weight, read as it is and rounded twice."""

    def __init__(self, plainly):
        super().__init__()
        self.weight = tnn.Parameter(torch.ones(6, 6))
        self.spread = tnn.Parameter(torch.zeros(6))
        self.plainly = plainly

    def forward(self, x):
        for _ in range(2):
            x = tnn.functional.linear(x, quantise(self.weight, self.spread, -8, 7, True))
        x = tnn.functional.linear(x, quantise(self.weight, self.spread, -2, 1, True))
        return tnn.functional.linear(x, self.weight) if self.plainly else x


@pytest.mark.parametrize("plainly", [False, True])
def test_a_weight_that_is_used_in_several_ways_is_one_parameter_and_kept_in_each(plainly):
    workload = record(Shared(plainly), (torch.zeros(2, 6),))
    kept = [workload.buffers[op.reads[1]] for op in workload.ops if op.kind == "linear"]
    assert [buffer.dtype for buffer in kept] == ["int4", "int4", "int2", *["float32"] * plainly]
    assert workload.params == 36 + 6 and workload.ops[0].reads[1] == workload.ops[1].reads[1]


@pytest.mark.parametrize(("dtype", "bits", "size"), [
    ("float32", 0, 32.0), ("bool", 8, 8.0), ("int2", 2, 2.0), ("uint3", 3, 3.0), ("int16", 16, 16.0),
    ("int64", 64, 64.0), ("complex64", 0, 64.0), ("bfloat16", 0, 32.0)])
def test_a_buffer_of_any_integer_has_its_bits(dtype, bits, size):
    assert bits_of(dtype) == bits and Buffer(8, "activation", dtype).bytes_in(32) == size


def test_the_other_inputs_of_attention_stand_for_a_weight():
    workload = record(Attending(), tuple(torch.zeros(1, 2, 5, 8) for _ in range(3)))
    (kernel,), (q, k, v) = fuse(workload), workload.inputs
    assert kernel.kind == "attention" and operand_bits(kernel, workload.buffers, (8, 6, 16)) == (8, 8, 16)
    buffers = list(workload.buffers)
    for b, dtype in ((q, "uint4"), (k, "int2"), (v, "int3")):
        buffers[b] = Buffer(80, "activation", dtype)
    assert operand_bits(kernel, buffers, (8, 6, 16)) == (4, 3, 16)


class Attending(tnn.Module):
    def forward(self, q, k, v):
        return tnn.functional.scaled_dot_product_attention(q, k, v)


# --- lowerings

def test_one_set_of_weights_serves_every_bit_width_and_a_mixture_has_each():
    from test_mixture import mixed, one_hot_is_the_network
    x = normal(2, 1, 8, 8)
    space = Space([nn.ConvNormAct(choose("width", 3, 4), bits=choose("bits", 2, 8)), nn.Classifier(2, bits=4)])
    shared = shake(made(space, x))
    mixture = mixed(space, x)
    for genotype in space:
        assert holds(shared, genotype, x) and one_hot_is_the_network(mixture, genotype, x)
    mixture.weigh("softmax")
    mixture(x).square().sum().backward()
    assert all(bool((logits.grad != 0).any()) for logits in mixture.logits)


@pytest.mark.slow
def test_the_bundled_space_shares_weights_and_is_mixed():
    from test_mixture import mixed, one_hot_is_the_network
    space, x = case(None, "bits")
    shared, mixture = shake(made(space, x)), mixed(space, x)
    for genotype in [shared.largest, shared.smallest, *samples(space, 4)]:
        assert holds(shared, genotype, x) and one_hot_is_the_network(mixture, genotype, x)


def test_sizes_that_have_scales_and_larger_ones_that_have_none_cannot_share_and_say_so():
    from archfab.lowering.elastic import supports
    layer = nn.Quantised(nn.Linear(choose("width", 4, 64)), choose("bits", 4, 32), None)
    ok, because = supports(Space([layer, nn.Linear(2)]), (torch.zeros(2, 5),))
    assert ok or "choose between whole parts there" in because


# --- export

@pytest.mark.parametrize(("net", "genotype"), [
    ([nn.Quantised(nn.Conv2d(4, 3), 2, 3), nn.ReLU(), nn.Quantised(nn.Conv2d(5, 3), 8, 8, signed=False)], {}),
    pytest.param(SPACE.root, {"width": 8, "depth": 2, "bits0": 2, "bits1": 5}, marks=pytest.mark.slow)])
def test_an_exported_network_rounds_as_torch_does(net, genotype):
    """Also one that was never trained, whose steps are those that it was made with."""
    import onnxruntime
    net, x = build(Space(net), genotype, IMAGE), normal(16, 1, 8, 8)
    for trained in (True, False) if genotype else (True,):
        if trained:
            net.train()(x)
        model = to_onnx(net.eval(), (x,))
        kinds = {node.op_type for node in model.graph.node}
        assert "Round" in kinds and all(node.domain in ("", "ai.onnx") for node in model.graph.node)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
        assert np.allclose(found, net(x).detach().numpy(), atol=1e-6)
        workload = record_onnx(model)       # which says nothing of bits, so nothing is assumed
        assert workload.macs == record(net, (x,)).macs
        assert {buffer.dtype for buffer in workload.buffers} <= {"float32", "int64"}


def test_int8_devices_say_why_they_refuse():
    from archfab.hardware.int8.quantise import quantise as by_the_device
    info = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Round", ["x"], ["y"])], "g", [info("x", TensorProto.FLOAT, [1, 3])],
                              [info("y", TensorProto.FLOAT, [1, 3])])
    with pytest.raises(BuildError, match=r"Round \(the network rounds to few bits itself.*without nn.Quantised"):
        by_the_device(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.slow
def test_a_network_of_the_bundled_space_is_refused_by_a_microcontroller_that_runs_int8():
    bench = plan("vision", space="bits", data=None, device="null", options={})
    with pytest.raises(BuildError, match=r"without nn\.Quantised"):
        load_device("cortex-m7-simulated").cost(bench.workload(bench.space.fix({"width": 8})))


def test_a_number_that_is_rounded_the_other_way_is_no_wrong_export(tmp_path):
    """Sums differ in their last digits from one program to another, which rounding turns into a whole step."""
    torch.manual_seed(0)
    net, x = tnn.Sequential(Rounding(), tnn.Linear(8, 2)).eval(), normal(64, 8)
    path = tmp_path / "network.onnx"
    path.write_bytes(to_onnx(net, (x,)).SerializeToString())
    x[0, 0] = 0.5 - 1e-8
    assert check_onnx(net, (x,), path) < 1e-6
    net[0].shift = 1e-6                                     # as if a sum had come out a little larger
    x[0, 0] = 0.4999999
    assert 1e-4 < check_onnx(net, (x,), path) < 1e-2
    net[0].shift = 0.1
    with pytest.raises(ArithmeticError, match="differs from the trained one"):
        check_onnx(net, (x,), path)


def test_only_networks_that_round_may_differ_more(tmp_path):
    net, x = tnn.Linear(8, 2).eval(), normal(64, 8)
    path = tmp_path / "network.onnx"
    path.write_bytes(to_onnx(net, (x,)).SerializeToString())
    with torch.no_grad():
        net.bias += 1e-3 * net(x).abs().max()
    with pytest.raises(ArithmeticError, match="differs from the trained one"):
        check_onnx(net, (x,), path)


class Rounding(tnn.Module):
    shift = 0.0

    def forward(self, x):
        return (x + self.shift).round()


@pytest.mark.parametrize("other", [False, True])
def test_weights_that_are_read_as_they_are_too_stay_as_they_are(other):
    """Also where the rounding reads them under another name, which a view gave them."""
    info = helper.make_tensor_value_info
    nodes = [helper.make_node("Identity", ["w"], ["v"]),
             helper.make_node("QuantizeLinear", ["v", "one", "zero"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "one", "zero"], ["d"]),
             helper.make_node("MatMul", ["x", "d"], ["y"]), *[helper.make_node("MatMul", ["y", "w"], ["z"])] * other]
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, [1, 6])], [info("z" if other else "y", TensorProto.FLOAT, [1, 6])],
        [numpy_helper.from_array(np.ones((6, 6), np.float32), "w"), numpy_helper.from_array(np.float32(0.1), "one"),
         helper.make_tensor("zero", TensorProto.INT8, [], [0])])
    workload = record_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    kinds = [workload.buffers[op.reads[1]].dtype for op in workload.ops]
    assert kinds == (["int8", "float32"] if other else ["int8"]) and workload.params == 36


@pytest.mark.parametrize("folded", [True, False])
def test_a_file_that_says_its_bits_is_read_in_them(folded):
    constants = [numpy_helper.from_array(np.float32(0.1), "s"),
                 numpy_helper.from_array(np.full(8, 0.1, np.float32), "sw"),
                 helper.make_tensor("z8", TensorProto.INT8, [], [0]),
                 helper.make_tensor("u4", TensorProto.UINT4, [], [0]),
                 helper.make_tensor("z4", TensorProto.INT4, [8], [0] * 8),
                 helper.make_tensor("wq", TensorProto.INT4, [8, 3, 3, 3], [1] * 216) if folded else
                 numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w")]
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z8"], ["xq"]),
             helper.make_node("DequantizeLinear", ["xq", "s", "z8"], ["xd"]),
             *([] if folded else [helper.make_node("QuantizeLinear", ["w", "sw", "z4"], ["wq"], axis=0)]),
             helper.make_node("DequantizeLinear", ["wq", "sw", "z4"], ["wd"], axis=0),
             helper.make_node("Conv", ["xd", "wd"], ["c"]), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("QuantizeLinear", ["r", "s", "u4"], ["rq"]),
             helper.make_node("DequantizeLinear", ["rq", "s", "u4"], ["y"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 6, 6])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    workload = record_onnx(model)
    conv = next(kernel for kernel in fuse(workload) if kernel.kind == "conv")
    assert operand_bits(conv, workload.buffers, (32, 32, 32)) == (8, 4, 4)
    assert workload.params == 216 and workload.buffers[conv.writes[0]].dtype == "uint4"


# --- the digits

def digits(bits):
    """A small network of plain convolutions."""
    outer = 8 if bits else None
    return [nn.ConvNormAct(16, bits=outer), nn.ConvNormAct(16, bits=bits, signed=False),
            nn.ConvNormAct(32, stride=2, bits=bits, signed=False), nn.Classifier(10, bits=outer, signed=False)]


def error(bits, seed, epochs=12):
    """The test error of such a network on the digits."""
    task = Vision()
    torch.manual_seed(seed)
    model = build(Space(digits(bits)), {}, task.example())
    task.fit(model, Budget(epochs=epochs), random.Random(seed))
    return task, model, float(task.score(model, "test")["error"])


@pytest.mark.slow
def test_eight_bits_lose_nothing_four_little_and_two_something():
    mean = {bits: sum(error(bits, seed)[2] for seed in range(4)) / 4 for bits in (None, 8, 4, 2)}
    assert abs(mean[8] - mean[None]) < 0.01 and mean[4] < mean[None] + 0.015 and mean[2] < mean[None] + 0.05


def test_training_is_the_same_from_the_same_seed_and_its_state_is_all_there_is():
    task, one, score = error(4, 3, epochs=1)
    _, again, _ = error(4, 3, epochs=1)
    x, other = task.inputs(50)[0], build(Space(digits(4)), {}, task.example())
    assert torch.equal(one.eval()(x), again.eval()(x)) and score < 0.5
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.eval()(x), one(x))
    spreads = [parameter for name, parameter in one.named_parameters() if name.endswith("spread")]
    assert len(spreads) == 8 and all(torch.isfinite(each).all() for each in spreads)
