"""Ring oscillators: frequencies of waveforms, the spread of dies, a slower ring as a shift."""

import numpy as np
import pytest

from archfab.core import UsageError
from archfab.silicon.aging.effects import delay_ratio
from archfab.silicon.aging.rings import ring_frequency_hz, shift_of_slower_ring_mv, spread_of_dies

SKY130 = {"5108c_1_2_4_5_6": 14.90, "5108c_1_2_4_5_6_D2": 14.64, "5109c_1_2_4_5_6": 19.18, "5109c_1_2_4_5_6_D2": 18.77,
          "5128c_1_2_4_5_6": 20.99, "5128c_1_2_4_5_6_D2": 19.07, "5128c_1_2_4_5_6_D3": 16.41}
"""kHz, of the data's own page: measured waveforms of google/skywater-pdk-sky130-raw-data (process variation only)."""


@pytest.mark.parametrize("shape", [np.sin, lambda x: np.sign(np.sin(x))])
def test_the_frequency_of_a_noisy_oscillator(shape):
    rng = np.random.default_rng(0)
    time = np.arange(20_000) * 1e-7
    seen = 0.9 + 0.9 * shape(2 * np.pi * 21_300 * time + 0.4) + 0.05 * rng.standard_normal(20_000)
    value, low, high = ring_frequency_hz(seen, 1e-7)
    assert value == pytest.approx(21_300, rel=2e-3) and low < value < high and high / low < 1.01


@pytest.mark.shared
def test_measured_waveforms(shared_data):
    data = np.load(shared_data / "sky130-ring-oscillator" / "rosc_waveforms.npz", allow_pickle=False)
    found = {name: ring_frequency_hz(data[f"{name}_v"], float(data[f"{name}_xinc"])) for name in SKY130}
    for name, khz in SKY130.items():
        assert found[name][0] / 1000 == pytest.approx(khz, abs=0.02), name
        assert found[name][1] < found[name][0] < found[name][2]
    three = [found[f"5128c_1_2_4_5_6{die}"][0] for die in ("", "_D2", "_D3")]
    share, _, high = spread_of_dies(three)
    assert share == pytest.approx(np.std(three, ddof=1) / np.mean(three)) and 0.1 < share < 0.15 and high > 5 * share


def test_intervals_of_the_spread_cover_it():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        _, low, high = spread_of_dies(1e4 * (1 + 0.04 * rng.standard_normal(6)))
        inside += low <= 0.04 <= high
    assert 0.92 <= inside / 400 <= 0.98


def test_a_slower_ring_says_its_shift():
    """Half of a period ages by the delay ratio of 30 mV."""
    aged = 1e6 / (0.5 + 0.5 * float(delay_ratio(0.6, 30)))
    assert shift_of_slower_ring_mv(1e6, aged, 0.6) == pytest.approx(30)


def test_rings_that_are_none():
    for waveform, step in (([], 1e-6), (np.ones(100), 1e-6), (np.sin(np.arange(10)), 1e-6), ([0, np.nan], 1e-6),
                           (np.sin(np.arange(100.0)), 0)):
        with pytest.raises(UsageError):
            ring_frequency_hz(waveform, step)
    for bad in ([1e4], [1e4, 0], [1e4, np.inf]):
        with pytest.raises(UsageError):
            spread_of_dies(bad)
    with pytest.raises(UsageError, match="right order"):
        shift_of_slower_ring_mv(1e6, 1.1e6, 0.6)
