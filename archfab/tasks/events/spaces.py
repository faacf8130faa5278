"""Spaces of point processes: the encoder, its size and depth, decay or attention, how marks and time are embedded."""

from __future__ import annotations

from typing import Any

from archfab.space import choose, repeat
from archfab.space.descriptions import Description
from archfab.tasks.events.causal import CausalBlock
from archfab.tasks.events.continuous import ContinuousLSTM
from archfab.tasks.events.heads import DecayHead, ExponentialHead, LinearHead, LogLogisticHead
from archfab.tasks.events.processes import Attending, Clock, Hawkes, InhibitingHawkes, Marked, NoTime, Recurrent


def default(types: int, rates: list[float]) -> Any:
    """Hawkes processes, a neural Hawkes process, recurrent nets and transformers with four kinds of head.

    :param rates: of each type in the training data, in events a mean gap: where the networks begin.
    """
    hidden = choose("hidden", 16, 32, 64)
    head = choose("head", decay=DecayHead(rates), exponential=ExponentialHead(rates), linear=LinearHead(rates),
                  loglogistic=LogLogisticHead(rates, choose("head.components", 4, 8, 16)))

    def marked(process: Any) -> Description:
        time = choose("time", none=NoTime(), gaps=Clock(), waves=Clock(choose("time.waves", 2, 4, 6)))
        return Marked(types, choose("embedding", 4, 8, 16), time, hidden, process)

    def block(i: int) -> Description:
        return CausalBlock(choose("heads", 1, 2, 4), 8, choose("ratio", 1, 2), choose("fading", False, True))

    exponentials = choose("exponentials", 1, 2, 3)
    return choose("encoder", hawkes=Hawkes(types, rates, exponentials),
                  inhibiting=InhibitingHawkes(types, rates, exponentials),
                  continuous=marked(ContinuousLSTM(hidden, choose("layers", 1, 2), rates)),
                  recurrent=marked(Recurrent(hidden, choose("layers", 1, 2), head)),
                  attention=marked(Attending(repeat(choose("blocks", 1, 2, 3), block), head)))


NEURAL_HAWKES = {"encoder": "continuous", "layers": 1, "time": "none"}
"""The decisions that make a network of the space that of Mei and Eisner (2017)."""

TRANSFORMER = {"encoder": "attention", "head": "linear", "time": "waves", "fading": False}
"""The decisions that make it that of Zuo et al. (2020), causal and with the whole integral."""

