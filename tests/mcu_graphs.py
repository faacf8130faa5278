"""Integer networks to test the microcontroller's kernels with: chains of random operators of every kind."""

import numpy as np

from archfab.hardware.int8.graph import Graph, Node, Tensor


class Maker:
    """Builds a network operator by operator, with random weights, scales and zero points."""

    def __init__(self, seed, shape):
        self.rng = np.random.default_rng(seed)
        self.tensors, self.nodes = [], []
        self.x = self.inputs = self.tensor(shape)

    def tensor(self, shape, like=None, **fields):
        if like is not None:
            fields = {"scale": self.tensors[like].scale, "zero": self.tensors[like].zero, **fields}
        fields = {"scale": (float(np.float32(self.rng.uniform(0.02, 0.1))),), "zero": int(self.rng.integers(-128, 128)),
                  **fields}
        self.tensors.append(Tensor(f"t{len(self.tensors)}", tuple(shape), **fields))
        return len(self.tensors) - 1

    def add(self, op, inputs, out, **options):
        self.nodes.append(Node(op, tuple(inputs), (out,), options))
        self.x = out
        return out

    def shape(self, place=None):
        return self.tensors[self.x if place is None else place].shape

    def clamp(self):
        return [(-128, 127), (-128, 127), (-20, 90)][self.rng.integers(3)]

    def weighted(self, op, shape, outputs, axis, out_shape, grows=False, **options):
        """A layer with weights; its output's scale is such that its numbers spread. Where it `grows` weights are so
        small that the sums are multiplied by up to 3."""
        scale = tuple(float(np.float32(s)) for s in self.rng.uniform(0.001, 0.004, outputs))
        most = 1 if grows else 127
        weights = self.rng.integers(-most, most + 1, shape).astype(np.int8)
        depth = weights.size // outputs
        w = self.tensor(shape, scale=scale, zero=0, axis=axis, data=weights)
        b = self.tensor((outputs,), dtype="int32", scale=scale, zero=0, axis=0,
                        data=self.rng.integers(-most * 20, most * 20 + 1, outputs).astype(np.int32))
        spread = self.tensors[self.x].scale[0] * 0.0025 * (0.5 if grows else 73 * 90 * depth**0.5 / 60)
        out = self.tensor(out_shape, scale=(float(np.float32(spread)),))
        return self.add(op, (self.x, w, b), out, clamp=self.clamp(), **options)

    def window(self, kernel, stride, dilation=(1, 1)):
        """Random padding, and the size that comes of it."""
        top, left, bottom, right = (int(self.rng.integers(0, 1 + (k - 1) * d)) for k, d in zip(
            (*kernel, *kernel), (*dilation, *dilation), strict=True))
        _, height, width, _ = self.shape()
        tall = (height + top + bottom - (kernel[0] - 1) * dilation[0] - 1) // stride[0] + 1
        wide = (width + left + right - (kernel[1] - 1) * dilation[1] - 1) // stride[1] + 1
        return (top, left, bottom, right), tall, wide

    def conv(self, outputs, kernel=(3, 3), stride=(1, 1), dilation=(1, 1), groups=1, grows=False):
        padding, tall, wide = self.window(kernel, stride, dilation)
        shape = (outputs, *kernel, self.shape()[3] // groups)
        return self.weighted("conv_2d", shape, outputs, 0, (1, tall, wide, outputs), grows, stride=stride,
                             dilation=dilation, padding=padding)

    def depthwise(self, kernel=(3, 3), stride=(1, 1), dilation=(1, 1), multiplier=1, grows=False):
        padding, tall, wide = self.window(kernel, stride, dilation)
        outputs = self.shape()[3] * multiplier
        return self.weighted("depthwise_conv_2d", (1, *kernel, outputs), outputs, 3, (1, tall, wide, outputs), grows,
                             stride=stride, dilation=dilation, padding=padding)

    def connected(self, outputs, grows=False):
        shape = (outputs, self.shape()[-1])
        return self.weighted("fully_connected", shape, outputs, 0, (*self.shape()[:-1], outputs), grows)

    def pool(self, op, kernel=(3, 3), stride=(1, 1)):
        padding, tall, wide = self.window(kernel, stride)
        out = self.tensor((1, tall, wide, self.shape()[3]), like=self.x)
        return self.add(op, (self.x,), out, kernel=kernel, stride=stride, padding=padding)

    def pair(self, op, shape=None, swapped=False):
        """With a constant of a shape that is broadcast, or of the same one."""
        same = op in ("minimum", "maximum")
        data = self.rng.integers(-128, 128, shape or self.shape()).astype(np.int8)
        other = self.tensor(data.shape, like=self.x if same else None, data=data)
        out = self.tensor(self.shape(), like=self.x if same else None,
                          **({} if same else {"scale": (0.5 if op == "mul" else 0.09,)}))
        inputs = (other, self.x) if swapped else (self.x, other)
        return self.add(op, inputs, out, **({} if same else {"clamp": self.clamp()}))

    def graph(self, *outputs):
        return Graph(tuple(self.tensors), tuple(self.nodes), (self.inputs,), (*outputs, self.x))


def everything(seed=0):
    """One network in which every operator stands that code can be generated for, with shapes that are no round ones."""
    m = Maker(seed, (1, 11, 9, 6))
    first = m.conv(10)
    m.conv(9, (1, 1))
    m.conv(12, (2, 3), (2, 1), (1, 2))
    m.conv(8, groups=2, stride=(1, 2))
    m.conv(21, (1, 1), grows=True)             # the rare ways of rescaling
    m.depthwise(grows=True)
    m.depthwise((5, 3), (1, 1), (2, 1))
    m.pool("average_pool_2d")
    m.pool("max_pool_2d", (2, 3), (1, 1))
    m.pair("add")
    m.pair("sub", swapped=True)
    m.pair("mul", (1, 1, 1, m.shape()[3]))
    m.pair("add", (1, *m.shape()[1:3], 1))
    m.pair("sub", (1, m.shape()[1], 1, 1))
    m.pair("minimum")
    m.pair("maximum", (1,))
    for op in ("relu", "quantize", "logistic", "tanh", "hard_swish"):
        m.add(op, (m.x,), m.tensor(m.shape()))
    m.add("leaky_relu", (m.x,), m.tensor(m.shape()), alpha=0.1)
    before = m.x
    n, tall, wide, c = m.shape()
    m.add("pad", (before,), m.tensor((n, tall + 3, wide + 1, c), like=before), value=m.tensors[before].zero,
          paddings=((0, 0), (1, 2), (0, 1), (0, 0)))
    m.add("strided_slice", (m.x,), m.tensor((n, (tall + 3) // 2, wide, c), like=before), begin=(0, 1, 1, 0),
          end=(n, tall + 3, wide + 1, c), stride=(1, 2, 1, 1))
    m.add("resize_nearest_neighbor", (m.x,), m.tensor((n, 2 * m.shape()[1], wide, c), like=before))
    twice = m.x
    m.add("concatenation", (twice, twice), m.tensor((*m.shape()[:3], 2 * c), like=before), axis=3)
    m.depthwise((3, 3), (2, 2))
    m.depthwise((2, 2), multiplier=2)
    kept = m.add("mean", (m.x,), m.tensor((1, 1, 1, m.shape()[3])), axes=(1, 2), keep=True)
    m.pair("mul", m.shape())
    m.add("reshape", (m.x,), m.tensor((4, m.shape()[3] // 4), like=m.x))
    m.connected(15)
    m.connected(14, grows=True)
    m.add("transpose", (m.x,), m.tensor((14, 4), like=m.x), permutation=(1, 0))
    m.connected(6)
    left = m.add("reshape", (m.x,), m.tensor((2, 7, 6), like=m.x))
    products = m.tensor((2, 7, 7), scale=(m.tensors[left].scale[0]**2 * 100,))
    m.add("batch_matmul", (left, left), products, transpose_b=True)
    m.add("softmax", (m.x,), m.tensor((2, 7, 7), scale=(1 / 256,), zero=-128), beta=1.0)
    m.add("batch_matmul", (m.x, left), m.tensor((2, 7, 6)), transpose_b=False)
    m.add("reduce_max", (m.x,), m.tensor((2, 6), like=m.x), axes=(1,), keep=False)
    m.add("mean", (m.x,), m.tensor((2, 1)), axes=(1,), keep=True)
    return m.graph(first, kept)


def random_layers(seed, count=6):
    """A chain of random layers with weights, of random shapes."""
    rng = np.random.default_rng(seed)
    m = Maker(seed, (1, int(rng.integers(3, 12)), int(rng.integers(3, 12)), int(rng.integers(1, 20))))
    for _ in range(count):
        _, tall, wide, c = m.shape()
        kernel = (int(rng.integers(1, min(tall, 5) + 1)), int(rng.integers(1, min(wide, 5) + 1)))
        stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        kind = rng.integers(4)
        if kind == 0:
            m.depthwise(kernel, stride, multiplier=int(rng.integers(1, 3)))
        elif kind == 1:
            groups = next(g for g in (3, 2, 1) if c % g == 0)
            m.conv(groups * int(rng.integers(1, 8)), kernel, stride, groups=groups)
        elif kind == 2:
            m.pool(("average_pool_2d", "max_pool_2d")[rng.integers(2)], kernel)
        else:
            m.conv(int(rng.integers(1, 24)), kernel, (1, 1))
    return m.graph()
