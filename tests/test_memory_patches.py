"""Windows and patches: what a part of an image needs, by gradients; peaks and repeated work by hand and by torch."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from torch import nn as tnn

from archfab.core import UsageError
from archfab.evaluate import load_device
from archfab.hardware.kernels import fuse
from archfab.hardware.memory import plan
from archfab.hardware.memory.kernels import graph_of
from archfab.hardware.memory.patches import least_work, more_macs, patched, spans, splits, stages_of
from archfab.hardware.memory.report import report
from archfab.hardware.memory.runtime import Runtime
from archfab.hardware.onnx_file import record_onnx
from archfab.hardware.workload import record

PARTS = st.one_of(
    st.tuples(st.just("conv"), st.sampled_from([1, 2, 3, 5]), st.sampled_from([1, 2]), st.sampled_from([0, 1, 2]),
              st.sampled_from([1, 2])),
    st.tuples(st.just("avg"), st.sampled_from([2, 3]), st.sampled_from([1, 2]), st.sampled_from([0, 1]), st.just(1)))


def layer(kind, kernel, stride, padding, dilation):
    if kind == "conv":
        return tnn.Conv2d(2, 2, kernel, stride, padding, dilation, bias=False)
    return tnn.AvgPool2d(kernel, stride, min(padding, kernel // 2))


def chain(parts):
    return tnn.Sequential(*(layer(*part) for part in parts)).eval()


def influence(net, size, first, last):
    """The rows and columns of the input on which a square of the output hangs, by gradients of positive weights."""
    for parameter in net.parameters():
        parameter.data.fill_(1.0)
    x = torch.ones(1, 2, *size, requires_grad=True)
    net(x)[:, :, first:last, first:last].sum().backward()
    rows, columns = x.grad.abs().sum((0, 1, 3)).nonzero(), x.grad.abs().sum((0, 1, 2)).nonzero()
    return [(int(each.min()), int(each.max()) + 1) if len(each) else (0, 0) for each in (rows, columns)]


@settings(max_examples=25, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=3), st.integers(9, 13), st.integers(9, 13), st.integers(0, 4),
       st.integers(1, 4))
def test_windows_tell_what_a_patch_needs(parts, height, width, first, number):
    net, x = chain(parts), torch.rand(1, 2, height, width)
    try:
        out = net(x)
    except RuntimeError:                    # smaller than a kernel
        return
    first = min(first, min(out.shape[2:]) - 1)
    last = min(first + number, *out.shape[2:])
    kernels = fuse(record(net, (x,)))
    assert [kernel.window is not None for kernel in kernels] == [True] * len(parts)
    for axis, (low, high) in enumerate(influence(net, (height, width), first, last)):
        needs = (first, last)
        for kernel in reversed(kernels):
            needs = kernel.window.needs(axis, *needs)
        assert (needs[0] <= low and high <= needs[1]) or low == high == 0       # 0: nothing but padding
        if all(kernel >= stride and dilation == 1 for _, kernel, stride, _, dilation in parts):
            assert needs == (low, high)         # not a row too many, where windows leave no holes


def small():
    """3 channels of 16x16; 8, 8 (half the size), 16 channels."""
    return tnn.Sequential(tnn.Conv2d(3, 8, 3, padding=1), tnn.ReLU(), tnn.Conv2d(8, 8, 3, 2, 1), tnn.ReLU(),
                          tnn.Conv2d(8, 4, 1), tnn.AdaptiveAvgPool2d(1), tnn.Flatten(), tnn.Linear(4, 2))


def worked(net, shape=(1, 3, 16, 16)):
    workload = record(net, (torch.rand(shape),))
    return fuse(workload), workload


def test_a_split_by_hand():
    """Two convolutions on halves of the rows: of 8 rows out, 4 need 8 or 9 of the 16 rows between (one of halo)."""
    kernels, workload = worked(small())
    stage = kernels[:2]
    rows = spans(stage, stage[-1].writes[0], 0, 2)
    assert rows[stage[-1].writes[0]] == [(0, 4), (4, 8)]
    assert rows[stage[0].writes[0]] == [(0, 8), (7, 16)]        # of the 16 rows in the middle
    assert rows[workload.inputs[0]] == [(0, 9), (6, 16)]
    columns = spans(stage, stage[-1].writes[0], 1, 1)
    assert more_macs(stage, rows, columns) == pytest.approx(3 * 8 * 9 * 16)     # one row of the middle twice
    cut = patched(graph_of(kernels, workload, 8), stage, workload, rows, columns, False)
    assert plan(cut).peak == 3 * 256 + 8 * 9 * 16 + 8 * 64      # the image, 9 rows of the middle, the stage's output
    streamed = splits(kernels, workload, 8, streams_input=True)
    assert min(each.plan.arena for each in streamed) < min(each.plan.arena for each in splits(kernels, workload, 8))


def test_patches_computed_one_by_one_make_the_same_output_and_cost_what_is_said():
    """Torch computes each patch from the rows and columns that the plan says, zeros only where the image ends."""
    net = small()[:5].eval()
    x = torch.rand(1, 3, 16, 16)
    kernels, workload = worked(net)
    out, done = torch.zeros_like(net(x)), 0
    rows, columns = (spans(kernels, kernels[-1].writes[0], axis, number) for axis, number in ((0, 3), (1, 2)))
    with torch.no_grad():
        for i in range(3):
            for j in range(2):
                part = cut(x, rows[workload.inputs[0]][i], columns[workload.inputs[0]][j])
                for kernel, conv in zip(kernels, (net[0], net[2], net[4]), strict=True):
                    spans_ = [each[kernel.writes[0]][at] for each, at in ((rows, i), (columns, j))]
                    part = by_patch(part, kernel, conv, spans_)
                    done += part[0, 0].numel() * kernel.macs // (kernel.shape[2] * kernel.shape[3])
                    part = part if conv is net[4] else part.relu()
                (a, b), (c, d) = rows[kernels[-1].writes[0]][i], columns[kernels[-1].writes[0]][j]
                out[:, :, a:b, c:d] = part
    assert torch.allclose(out, net(x), atol=1e-5)
    assert done - workload.macs == pytest.approx(more_macs(kernels, rows, columns))


def cut(x, rows, columns):
    return x[:, :, slice(*rows), slice(*columns)]


def by_patch(part, kernel, conv, wanted):
    """A convolution on the piece of its input that is there, padded with zeros where the image ends."""
    window, pads = kernel.window, []
    for axis in (1, 0):
        first, last = wanted[axis]
        start = first * window.stride[axis] - window.padding[axis]
        end = (last - 1) * window.stride[axis] - window.padding[axis] + window.kernel[axis]
        pads += [max(0, -start), max(0, end - window.size[axis])]
    return tnn.functional.conv2d(tnn.functional.pad(part, pads), conv.weight, conv.bias, conv.stride)


def test_splits_are_a_front_and_the_least_work_that_fits_is_found():
    kernels, workload = worked(small())
    found = splits(kernels, workload, 8)
    assert (found[0].kernels, found[0].more_macs) == (0, 0)
    assert found[0].plan.arena == plan(graph_of(kernels, workload, 8)).arena
    for less, more in pairwise(found):
        assert less.more_macs <= more.more_macs and less.plan.arena > more.plan.arena
    assert least_work(found, found[-2].plan.arena) is found[-2]
    assert least_work(found, 10) is None


class Joined(tnn.Module):
    """A convolution, a residual block, then what needs the whole image."""

    def __init__(self, whole):
        super().__init__()
        self.first, self.second, self.whole = tnn.Conv2d(3, 8, 3, 1, 1), tnn.Conv2d(8, 8, 3, 1, 1), whole

    def forward(self, x):
        x = self.first(x)
        return self.whole(x + self.second(x))


def test_a_residual_block_belongs_to_a_stage():
    kernels, workload = worked(Joined(tnn.Conv2d(8, 4, 1, 2)))
    stages, _ = stages_of(kernels, workload, graph_of(kernels, workload, 8))
    assert stages == [3, 4]         # after the sum and after the last convolution; not between, where two buffers live
    assert splits(kernels, workload, 8)[-1].plan.arena < plan(graph_of(kernels, workload, 8)).arena


class Two(tnn.Module):
    def forward(self, x, y):
        return x + y


REFUSED = {
    "the whole image": (tnn.Sequential(tnn.AdaptiveAvgPool2d(1), tnn.Conv2d(3, 2, 1)), (1, 3, 8, 8),
                        r"operator 0 \(mean.*needs the whole image"),
    "no image": (tnn.Sequential(tnn.Linear(8, 8), tnn.Linear(8, 8)), (1, 8), "operator 0 .*needs the whole image"),
    "one operator": (tnn.Conv2d(3, 2, 1), (1, 3, 8, 8), "fewer than two operators"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_run_by_patches_is_refused_with_the_reason(fault):
    net, shape, said = REFUSED[fault]
    with pytest.raises(UsageError, match=said):
        splits(*worked(net, shape), 8)


def test_two_inputs_are_refused():
    workload = record(Two(), (torch.rand(1, 3, 4, 4),) * 2)
    with pytest.raises(UsageError, match="2 inputs"):
        splits(fuse(workload), workload, 8)


def test_an_onnx_file_has_the_same_windows():
    net = tnn.Sequential(tnn.Conv2d(3, 8, 3, 2, 1, 2), tnn.MaxPool2d(3, 2, 1), tnn.Conv2d(8, 4, (1, 5)))
    x = torch.rand(1, 3, 32, 32)
    nodes = [helper.make_node("Conv", ["x", "a"], ["y"], strides=[2, 2], pads=[1] * 4, dilations=[2, 2]),
             helper.make_node("MaxPool", ["y"], ["z"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
             helper.make_node("Conv", ["z", "b"], ["out"])]
    weights = [numpy_helper.from_array(net[i].weight.detach().numpy(), name) for i, name in ((0, "a"), (2, "b"))]
    ports = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", x.shape), ("out", net(x).shape))]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], weights)
    theirs = record_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))
    assert [op.window for op in theirs.ops] == [op.window for op in record(net, (x,)).ops]


# --- what is told

def test_the_report_names_the_peak_and_draws_it():
    device, workload = load_device("cortex-m4"), worked(small())[1]
    told, picture = report(device, workload, picture=True)
    assert told["arena_bytes"] == device.cost(workload).figures["memory_kb"].value * 1024
    assert told["peak"]["name"].startswith("convolution + relu 3x3/1")
    assert sum(each["bytes"] for each in told["peak"]["holds"]) == told["peak_bytes"] == (3 + 8) * 256
    assert told["peak"]["holds"][0]["made_by"] == "the input" or told["peak"]["holds"][1]["made_by"] == "the input"
    assert "peak is at kernel 0: convolution + relu" in "\n".join(told["said"])
    assert told["patches"][0]["arena_bytes"] == told["arena_bytes"] > told["patches"][-1]["arena_bytes"]
    assert picture.startswith(b"\x89PNG")


def test_a_device_that_does_not_reorder_is_planned_in_the_given_order():
    class Branches(tnn.Module):
        """Two branches that are wide first and narrow then; both wide parts run before the narrow ones."""

        def __init__(self):
            super().__init__()
            self.wide = tnn.ModuleList(tnn.Conv2d(2, 8, 1) for _ in range(2))
            self.narrow = tnn.ModuleList(tnn.Conv2d(8, 1, 1) for _ in range(2))

        def forward(self, x):
            wide = [each(x) for each in self.wide]
            return self.narrow[0](wide[0]) + self.narrow[1](wide[1])

    kernels, workload = worked(Branches(), (1, 2, 4, 4))
    size = 16
    assert Runtime(reorders=False).plan(kernels, workload, 8).arena == (2 + 8 + 8) * size
    assert Runtime().plan(kernels, workload, 8).arena == (2 + 8 + 1) * size
    kept = Runtime(keeps_input=True).plan(kernels, workload, 8)
    assert kept.lives[workload.inputs[0]] == (0, len(kernels) - 1)


def test_a_batch_norm_of_its_own_works_in_place_and_in_patches():
    """After a pool nothing folds it: it writes over its input, and a stage goes on through it."""
    kernels, workload = worked(tnn.Sequential(tnn.Conv2d(3, 8, 3, padding=1), tnn.AvgPool2d(2), tnn.BatchNorm2d(8),
                                              tnn.Conv2d(8, 4, 1)))
    assert [kernel.kind for kernel in kernels] == ["conv", "pool", "norm", "pointwise"]
    graph = graph_of(kernels, workload, 8)
    assert graph.steps[2].overwrites == kernels[2].reads
    assert stages_of(kernels, workload, graph)[0] == [2, 3, 4]
    found = plan(graph)
    assert found.offsets[kernels[2].writes[0]] == found.offsets[kernels[2].reads[0]]
