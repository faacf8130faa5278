"""What a person sees of this room's answers."""

from __future__ import annotations

from typing import Any

from archfab.silicon.words import Document
from archfab.terminal import say, show_table

STUCK = "never switches"


def span(document: Document, name: str, style: str = "{:.3g}", none: str = "beyond") -> str:
    """A value with its interval; `none` is said of what is infinite or beyond the horizon."""
    def said(value: float | None) -> str:
        return none if value is None else style.format(value)
    return f"{said(document[name])} ({said(document[name + '_low'])} to {said(document[name + '_high'])})"


def where(document: Document) -> None:
    say()
    origin = "" if document["origin"] == "fitted" else f"{document['origin']}: "
    say(f"{document['model']}, parameters {document['parameters']} ({origin}{document['source']})")
    if "interval" in document:
        say(f"in brackets: {document['interval']}")


def aging(document: Document) -> None:
    at = document["conditions"]
    say(f"PMOS at {at['vdd_v']:g} V, threshold {at['vth_v']:g} V, {at['kelvin']:g} K, duty cycle "
        f"{at['duty']:g}, after {at['years']:g} years")
    say()
    show_table(["", "value", "interval"], [[name, *split(span(document, key, style, STUCK))] for name, key, style in (
        ("threshold shift (mV)", "dvth_mv", "{:.3g}"), ("delay of rising edges, times fresh", "delay_ratio", "{:.4f}"),
        ("drive current lost", "drive_current_loss", "{:.1%}"),
        ("transconductance lost", "transconductance_loss", "{:.1%}"))])
    other = document["other_form"]
    if other["dvth_mv"] is not None:
        more = f", {other['times_ours']:g} times as much" if other["times_ours"] else ""
        say()
        say(f"{other['form']} says {other['dvth_mv']:g} mV{more} ({other['inputs']}):")
        say("parameters, not equations, decide; measure your process and fit it (archfab silicon fit-aging)")
    where(document)


def split(text: str) -> tuple[str, str]:
    value, _, interval = text.partition(" (")
    return value, interval.removesuffix(")")


def derate(document: Document) -> None:
    rows = document["rows"]
    show_table(["supply (V)", "kelvin", "duty", "years", "shift (mV)", "late rise", "interval", "late fall"],
               [[row["vdd_v"], row["kelvin"], row["duty"], row["years"], row["dvth_mv"], *split(
                   span(row, "late_rise", "{:.4f}", STUCK)), f"{row['late_fall']:.4f}"] for row in rows])
    for line in document.get("commands", ()):
        say(line)
    where(document)


def lifetime(document: Document) -> None:
    if "lifetime_years" in document:
        far = document.get("horizon_years", 1000)
        say(f"a guardband of {document['of']['guardband']:.3g} of the delay lasts "
            f"{span(document, 'lifetime_years')} years"
            + (f" (beyond: more than {far:g})" if None in (document["lifetime_years"], document["lifetime_years_low"],
                                                          document["lifetime_years_high"]) else ""))
    else:
        say(f"{document['of']['years']:g} years need a guardband of "
            f"{span(document, 'guardband', '{:.2%}', 'more than any')} of the delay")
    where(document)


def mission(document: Document) -> None:
    say(f"a cycle of {document['cycle_hours']:g} hours, threshold {document['vth_v']:g} V")
    show_table(["phase", "hours", "supply (V)", "kelvin", "duty", "recovers"],
               [[row[key] for key in ("name", "hours", "vdd_v", "kelvin", "duty", "recovers")]
                for row in document["phases"]])
    say()
    rows = document["rows"]
    show_table(["years", "shift (mV)", "interval", "at the cycle's end", "delay", "interval"],
               [[f"{row['years']:.3g}", *split(span(row, "dvth_mv")), row["dvth_mv_at_end"],
                 *split(span(row, "delay_ratio", "{:.4f}", STUCK))] for row in
                [*rows[1:-1:max(1, len(rows) // 10)], rows[-1]]])
    if not document["model_recovers"]:
        say(f"{document['model']} does not recover: a phase without stress takes nothing back (--model two-component)")
    where(document)


def avs(document: Document) -> None:
    shown: list[dict[str, Any]] = []
    for row in document["schedule"]:
        if not shown or shown[-1]["vdd_v"] != row["vdd_v"]:
            shown.append(dict(row))
        shown[-1] |= {key: row[key] for key in ("to_years", "dvth_mv", "delay_of_target")}
    show_table(["from (years)", "to", "supply (V)", "shift at its end (mV)", "delay of target"],
               [[f"{row['from_years']:.3g}", f"{row['to_years']:.3g}", f"{row['vdd_v']:.3f}", row["dvth_mv"],
                 f"{row['delay_of_target']:.4f}"] for row in shown])
    say()
    say(f"one supply for the whole life: {span(document, 'fixed_vdd_v', '{:.3f}')} V, shift "
        f"{document['fixed_dvth_mv']:g} mV")
    say(f"the schedule ends at {span(document, 'final_vdd_v', '{:.3f}')} V and saves "
        f"{span(document, 'energy_saved', '{:.1%}')}: {document['energy']}")
    if document["fixed_vdd_v_high"] is None:
        say("beyond: no supply up to --most-vdd is enough at that end of the interval")
    where(document)


def fit_aging(document: Document) -> None:
    say(f"{document['file']}: {document['measurements']} measurements of {document['devices']} devices, "
        f"{document['recovering']} in recovery; overdrive "
        f"{', '.join(f'{each:g}' for each in document['overdrives_v'])} V; "
        f"{', '.join(f'{each:g}' for each in document['kelvins'])} K")
    say()
    show_table(["model", "AIC", "above best", "BIC", "rms (mV)", "last decade forecast (mV)"],
               [[row["model"], row["aic"], row["aic_above_best"], row["bic"], row["rms_mv"],
                 row["forecast_rms_mv"] if row["forecast_rms_mv"] is not None else "too short"]
                for row in document["models"]])
    for row in document["models"]:
        say()
        show_table(["parameter", "value", "95 %", "all at once 95 %", "unit", "meaning"],
                   [[name, f"{each['value']:.4g}", *(
                       (f"{each['low']:.4g} to {each['high']:.4g}",
                        f"{each['low_jointly']:.4g} to {each['high_jointly']:.4g}") if "low" in each
                       else (f"held: {each['held']}", "")), each["unit"], each["about"]]
                    for name, each in row["parameters"].items()], row["model"])
    say()
    for sentence in document["verdict"]:
        say(sentence)
