"""The words of `archfab silicon` that this room answers: aging, derate, lifetime, mission, avs, fit-aging."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from archfab.silicon.aging import showing
from archfab.silicon.words import Document, Word

MODELS = ("power-law", "reaction-diffusion", "two-component", "hole-trapping")


def answered(word: str) -> Callable[[argparse.Namespace], Document]:
    """What does a word; numpy and scipy are imported when it is asked for."""
    def do(asked: argparse.Namespace) -> Document:
        from archfab.silicon.aging.answers import ANSWERS
        return ANSWERS[word](asked)
    return do


def add(word: Word) -> None:
    """The words, their options, what does them and how the answers are shown."""
    one = word("aging", "how far a threshold shifts under constant conditions, and what it does to speed",
               "archfab silicon aging --vdd 1.1 --vth 0.5 --kelvin 378 --duty 1 --years 10", answered("aging"),
               showing.aging)
    conditions(one)
    one.add_argument("--years", type=float, default=10.0, help="time in use (default 10)")
    one.add_argument("--field-mv-cm", type=float, help="gate field of the stress in MV/cm, in place of the supply's")
    one.add_argument("--oxide-nm", type=float, help="oxide that the field is across, in nm of SiO2")
    parameters(one)

    one = word("derate", "a table of delay factors over voltage, temperature, duty cycle and years",
               "archfab silicon derate --vdd 1.0,1.1 --vth 0.5 --kelvin 358,378 --duty 0.5,1 --years 3,10 "
               "--csv derates.csv --sdc derates.sdc", answered("derate"), showing.derate)
    one.add_argument("--vdd", required=True, metavar="V,V", help="supplies in volts, with commas between")
    one.add_argument("--vth", type=float, required=True, help="threshold voltage in volts")
    one.add_argument("--kelvin", required=True, metavar="K,K", help="temperatures in kelvin")
    one.add_argument("--duty", default="1", metavar="D,D", help="shares of the time under stress (default 1)")
    one.add_argument("--years", default="10", metavar="Y,Y", help="times in use (default 10)")
    one.add_argument("--csv", type=Path, help="the table as a file")
    one.add_argument("--sdc", type=Path, help="set_timing_derate commands for the slowest row; the others as comments")
    one.add_argument("--bound", choices=("value", "high"), default="value",
                     help="what the commands take: the value (default), or the end of its interval")
    parameters(one)

    one = word("lifetime", "how long a guardband lasts, or what guardband a lifetime needs",
               "archfab silicon lifetime --vdd 1.1 --vth 0.5 --kelvin 378 --duty 0.5 --guardband 0.07",
               answered("lifetime"), showing.lifetime)
    one.add_argument("--vdd", type=float, help="supply in volts")
    one.add_argument("--vth", type=float, required=True, help="threshold voltage in volts")
    one.add_argument("--kelvin", type=float, help="temperature in kelvin")
    one.add_argument("--duty", type=float, help="share of the time under stress, 0 to 1 (default 1)")
    one.add_argument("--mission", type=Path, help="a mission profile instead of constant conditions")
    one.add_argument("--cycle-hours", type=float, default=24.0, help="what shares of a mission are of (default 24)")
    one.add_argument("--guardband", type=float, help="share by which the delay may grow, e.g. 0.05")
    one.add_argument("--years", type=float, help="the lifetime that a guardband is wanted for")
    one.add_argument("--horizon", type=float, default=30.0, help="years that a mission is followed (default 30)")
    parameters(one)

    one = word("mission", "what a profile of voltage, temperature and activity makes of a threshold over the years",
               "archfab silicon mission mission.toml --vth 0.5 --years 10 --png mission.png", answered("mission"),
               showing.mission)
    one.add_argument("file", type=Path, metavar="MISSION",
                     help="phases as CSV or TOML: hours or share, vdd_v, kelvin, duty, activity")
    one.add_argument("--vth", type=float, required=True, help="threshold voltage in volts")
    one.add_argument("--years", type=float, default=10.0, help="how long it goes on (default 10)")
    one.add_argument("--cycle-hours", type=float, default=24.0, help="what shares are of (default 24)")
    one.add_argument("--csv", type=Path, help="shifts and delays over the years as a file")
    parameters(one)

    one = word("avs", "an adaptive supply: the least voltage at each time that keeps the speed",
               "archfab silicon avs --vdd 1.1 --vth 0.5 --kelvin 378 --duty 0.5 --years 10 --png avs.png",
               answered("avs"), showing.avs)
    conditions(one)
    one.add_argument("--years", type=float, default=10.0, help="the lifetime (default 10)")
    one.add_argument("--margin", type=float, default=0.0,
                     help="share by which the delay may exceed that of a fresh chip at --vdd (default 0)")
    one.add_argument("--step-mv", type=float, default=10.0, help="steps of the supply (default 10)")
    one.add_argument("--most-vdd", type=float, help="the highest supply (default 1.3 times --vdd)")
    one.add_argument("--times", type=int, default=24, help="how often it may change, by log time and again by time")
    one.add_argument("--csv", type=Path, help="the schedule as a file")
    parameters(one)

    one = word("fit-aging", "models of ageing fitted to measured stress and recovery",
               "archfab silicon fit-aging stress.csv --png fit.png --out fitted.toml", answered("fit-aging"),
               showing.fit_aging)
    one.add_argument("file", type=Path, metavar="MEASUREMENTS",
                     help="CSV: device, phase, seconds, overdrive_v (or stress_v with --vth), kelvin, dvth_mv")
    one.add_argument("--vth", type=float, help="threshold voltage, where the file has stress_v")
    one.add_argument("--oxide-nm", type=float, help="oxide in nm of SiO2, where the file has field_mv_cm")
    one.add_argument("--models", default="all", metavar="M,M", help=f"which (default all): {', '.join(MODELS)}")
    one.add_argument("--samples", type=int, default=200, help="bootstrap samples (default 200)")
    one.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    one.add_argument("--out", type=Path, help="the model of least AIC as a parameter file for the other words")
    one.add_argument("--png", type=Path, help="a picture (.png or .svg)")


def conditions(one: argparse.ArgumentParser) -> None:
    """Constant conditions."""
    one.add_argument("--vdd", type=float, required=True, help="supply in volts")
    one.add_argument("--vth", type=float, required=True, help="threshold voltage in volts (its magnitude)")
    one.add_argument("--kelvin", type=float, required=True, help="temperature in kelvin")
    one.add_argument("--duty", type=float, default=1.0, help="share of the time under stress, 0 to 1 (default 1)")


def parameters(one: argparse.ArgumentParser) -> None:
    """Which model with which parameters, and a picture."""
    one.add_argument("--model", choices=MODELS, help="default power-law, with the published parameter set")
    one.add_argument("--parameters", type=Path, metavar="FILE", help="a parameter set, as fit-aging --out writes it")
    one.add_argument("--alpha", type=float, default=1.3, help="of the alpha-power law of delay (default 1.3)")
    one.add_argument("--png", type=Path, help="a picture (.png or .svg)")
