"""How an operator walks over an image: which part of its input a part of its output needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archfab.hardware.operators import CONVOLUTIONS

POOLS = ("max_pool2d_with_indices", "avg_pool2d")


@dataclass(frozen=True)
class Window:
    """A window that is moved over an image; pairs are vertical, horizontal."""

    size: tuple[int, int]           # of the input: height, width
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)       # before the first row, before the first column
    dilation: tuple[int, int] = (1, 1)

    def needs(self, axis: int, first: int, last: int) -> tuple[int, int]:
        """From which to before which row (axis 0) or column (axis 1) of the input those of the output from `first` to
        before `last` are computed; padding is no input."""
        start = first * self.stride[axis] - self.padding[axis]
        end = (last - 1) * self.stride[axis] - self.padding[axis] + self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return min(max(start, 0), self.size[axis]), max(min(end, self.size[axis]), 0)


def window_of(name: str, args: Any) -> Window | None:
    """The window of an aten operator on images [N, C, H, W]; None for all others."""
    if not args or getattr(args[0], "ndim", 0) != 4:
        return None
    if name in CONVOLUTIONS:
        x, weight, stride, padding, dilation, transposed = args[0], args[1], args[3], args[4], args[5], args[6]
        return None if transposed else made(x.shape, weight.shape[2:], stride, padding, dilation)
    if name in POOLS:
        given = dict(zip(("kernel", "stride", "padding", "dilation"), args[1:], strict=False))
        return made(args[0].shape, given["kernel"], given.get("stride") or given["kernel"], given.get("padding") or [0],
                    given["dilation"] if name == POOLS[0] and "dilation" in given else [1])
    return None


def made(shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
         dilation: Sequence[int]) -> Window:
    """A window over an input [N, C, H, W]; one number stands for both axes."""
    def pair(numbers: Sequence[int]) -> tuple[int, int]:
        return int(numbers[0]), int(numbers[-1])

    return Window((int(shape[2]), int(shape[3])), pair(kernel), pair(stride), pair(padding), pair(dilation))
