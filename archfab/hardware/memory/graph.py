"""What is to be planned: steps that read and write buffers, and how large the buffers are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from archfab.core import UsageError

Name = Hashable
"""What a buffer is called: any name, or its index where `sizes` is a sequence."""


class Step(NamedTuple):
    """One operation. A step that only makes a view is none: see `Graph.views`."""

    reads: tuple[Name, ...]
    writes: tuple[Name, ...]
    name: str = ""
    overwrites: tuple[Name, ...] = ()
    """What it reads and may write over: its first write takes the memory of one of these, where that dies here and is
    as large. An elementwise operation names all that it reads."""
    scratch: int = 0
    """Bytes that it needs beside its buffers, only while it runs."""


@dataclass(frozen=True)
class Graph:
    """Steps in an order in which they can run, and the sizes of their buffers in bytes.

    A buffer that several steps write has several versions in one piece of memory: whoever reads a version runs before
    the next one is written, and the memory is held from the first write to the last use. Inputs are there from the
    start, outputs stay to the end.
    """

    steps: Sequence[Step]
    sizes: Mapping[Name, int] | Sequence[int]
    inputs: Sequence[Name] = ()
    outputs: Sequence[Name] = ()
    keep_inputs: bool = False
    """Whether the inputs stay as they are to the end, so that neither their memory nor they are written over."""
    views: Mapping[Name, Name] = field(default_factory=dict)
    """Buffers that are (part of) another buffer's memory: view -> whose."""

    def size(self, buffer: Name) -> int:
        try:
            size = self.sizes[buffer]           # type: ignore[call-overload]
        except (KeyError, IndexError, TypeError):
            raise UsageError(f"the buffer {buffer!r} has no size; `sizes` gives the bytes of every buffer") from None
        if size < 0:
            raise UsageError(f"the buffer {buffer!r} has a size of {size} bytes; a size is a number from 0 up")
        return size

    def memory_of(self, buffer: Name) -> Name:
        """The buffer whose memory this one is: itself, if it is no view."""
        seen = 0
        while buffer in self.views:
            buffer, seen = self.views[buffer], seen + 1
            if seen > len(self.views):
                raise UsageError(f"the buffer {buffer!r} is a view of itself; `views` names what each is a view of")
        return buffer
