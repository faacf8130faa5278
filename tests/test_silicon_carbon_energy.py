"""The energy of a computation: RAPL and NVML counters, Green Algorithms, a command, a past run."""

import ctypes
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archfab.core import UsageError
from archfab.silicon.carbon import estimate
from archfab.silicon.carbon.estimate import Core, core_of, energy_terms, processor_of
from archfab.silicon.carbon.footprint import Spent, emitted, measure_command, read_run
from archfab.silicon.carbon.grids import Grid
from archfab.silicon.carbon.meters import Counter, Found, Meter, find_meters, nvidia, rapl, resident_bytes

GRID = Grid("QQQ", "somewhere", 2024, 400.0, 320.0, 480.0, "a test")
CORE = Core(12.0, 0.8, "a test")


def zone(folder, name, kind, energy, limit="262143328850"):
    path = folder / name
    path.mkdir(parents=True)
    (path / "name").write_text(kind + "\n")
    (path / "energy_uj").write_text(f"{energy}\n")
    (path / "max_energy_range_uj").write_text(limit + "\n")
    return path / "energy_uj"


def test_packages_and_their_memory_are_counted_once(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 400_000)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 100)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1_000_000)     # the first package again
    zone(tmp_path, "intel-rapl:2", "psys", 9_000_000)               # all of it again
    meters, notes = rapl(tmp_path)
    assert [meter.part for meter in meters] == ["processor", "memory", "processor"] and not notes
    first.write_text("3500000")
    second.write_text("5250000")
    memory.write_text("2000100")
    assert [meter.joules() for meter in meters] == pytest.approx([2.5, 2.0, 0.25])


def test_a_counter_that_goes_round_goes_on(tmp_path):
    energy = zone(tmp_path, "intel-rapl:0", "package-0", 900, limit="1000")
    (meter,), _ = rapl(tmp_path)
    for now in (950, 50, 40):           # 50, 100, 990 microjoules
        energy.write_text(str(now))
        found = meter.joules()
    assert found == pytest.approx(1140e-6)
    counts = iter([10, 5])
    with pytest.raises(RuntimeError, match="ran backwards"):
        Counter(lambda: next(counts), 1.0).joules()


def test_counters_that_are_closed_say_what_to_do(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", "")         # as unreadable as to another user
    meters, notes = rapl(tmp_path)
    assert not meters and "chmod a+r" in notes[0] and "CVE-2020-8694" in notes[0]
    assert rapl(tmp_path / "nowhere") == ([], [])


FAKE = """
static unsigned long long mj[2] = {1000, 0};
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned int *n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void **h) { *h = &mj[i]; return 0; }
int nvmlDeviceGetName(void *h, char *s, unsigned int n) { s[0] = h == mj ? 'A' : 'B'; s[1] = 0; return n < 2; }
int nvmlDeviceGetTotalEnergyConsumption(void *h, unsigned long long *e) {
    if (h != mj) return 3;                      /* not supported */
    *e = mj[0]; mj[0] += 2500; return 0; }
"""


@pytest.mark.skipif(not shutil.which("gcc"), reason="apt install gcc")
def test_gpus_are_read_through_nvmls_own_interface(tmp_path):
    (tmp_path / "nvml.c").write_text(FAKE)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "nvml.so", tmp_path / "nvml.c"], check=True)
    meters, notes = nvidia(str(tmp_path / "nvml.so"))
    assert [meter.name for meter in meters] == ["NVML A (GPU 0)"] and meters[0].joules() == 2.5
    assert "NVML B (GPU 1) counts no energy" in notes[0]
    assert nvidia(str(tmp_path / "absent.so")) == ([], [])


def test_a_library_without_a_driver_is_said(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: type("Library", (), {"nvmlInit_v2": staticmethod(lambda: 9)}))
    assert "tells of no GPU" in nvidia("any")[1][0]


def test_green_algorithms_by_hand():
    # 12 h on 16 cores of 7.5 W and 64 GB, PUE 1.67 (Lannelongue et al. 2021, equation 1)
    found = emitted(Spent("x", 12 * 3600, 16 * 12 * 3600, 64), GRID, Core(7.5, 0.0, "given"), pue=1.67)
    assert found.energy_kwh.value == pytest.approx(12 * (16 * 7.5 + 64 * 0.3725) * 1.67 / 1000)
    with pytest.raises(UsageError, match="1 or more"):
        emitted(Spent("x", 1, 1, 1), GRID, CORE, pue=0.5)


def test_threads_on_one_core_do_not_draw_twice():
    terms = energy_terms(core=Core(10, 0.4, "x", most_w=80), core_hours=16, hours=1, memory_gb=0)
    assert terms["processor"].value == pytest.approx(0.08)


def test_measured_parts_stay_as_they_are_and_the_others_are_estimated():
    spent = Spent("x", 3600, 7200, 8.0, {"processor": 3.6e6})
    found = emitted(spent, GRID, CORE, pue=1.0)
    assert {part["part"]: part["origin"] for part in found.parts} == {"processor": "measured", "memory": "analytic"}
    assert found.energy_kwh.value == pytest.approx(1 + 8 * 0.3725 / 1000)
    assert found.measured == pytest.approx(1 / found.energy_kwh.value)
    assert found.carbon_g.value == pytest.approx(400 * found.energy_kwh.value)
    whole = emitted(Spent("x", 3600, 0, 8.0, {"processor": 3.6e6, "memory": 36e3}), GRID, CORE, pue=1.0)
    assert whole.measured == 1 and whole.energy_kwh.low == whole.energy_kwh.high == pytest.approx(1.01)
    unknown = emitted(spent, GRID, CORE)
    assert unknown.parts[0]["kwh"] == pytest.approx(1) and unknown.measured == pytest.approx(found.measured / 1.56)
    assert unknown.parts[-1]["part"] == "data centre (PUE)" and unknown.parts[-1]["origin"] == "analytic"
    assert math.fsum(part["kwh"] for part in unknown.parts) == pytest.approx(unknown.energy_kwh.value)
    assert unknown.energy_kwh.value == pytest.approx(1.56 * found.energy_kwh.value)
    assert unknown.energy_kwh.low < 1.56 < unknown.energy_kwh.high


def test_a_gpu_that_does_not_tell_is_estimated_and_one_that_does_is_not_twice():
    given = emitted(Spent("x", 3600, 0, 0.0), GRID, CORE, pue=1.0, gpu_w=300)
    assert given.energy_kwh.value == pytest.approx(0.3)
    told = emitted(Spent("x", 3600, 0, 0.0, {"gpu": 3.6e5}), GRID, CORE, pue=1.0, gpu_w=300)
    assert told.energy_kwh.value == pytest.approx(0.1) and told.parts[0]["origin"] == "measured"


def test_a_command_is_measured_by_every_meter_and_its_children_count():
    joules = iter(range(0, 10_000, 5))
    child = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.25: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); sys.exit(3)"
    began = time.monotonic()
    spent = measure_command([sys.executable, "-c", code], lambda: Found(
        [Meter("processor", "a", lambda: float(next(joules)))], ["note"]), quiet=True)
    assert 0 < spent.seconds <= time.monotonic() - began and spent.exit == 3
    assert spent.core_seconds > 0.25                            # the child's time is in it
    assert spent.joules["processor"] >= 5 and spent.joules["processor"] % 5 == 0 and spent.notes == ["note"]
    assert 0.001 < spent.memory_gb < 2


def test_a_meter_that_fails_while_it_runs_is_no_measurement():
    def fails():
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("an energy counter ran backwards")
        return 1.0

    calls = []
    spent = measure_command([sys.executable, "-c", "pass"], lambda: Found([Meter("processor", "a", fails)]), quiet=True)
    assert not spent.joules and "ran backwards" in spent.notes[0]
    assert emitted(spent, GRID, CORE).parts[0]["origin"] == "analytic"
    with pytest.raises(UsageError, match="cannot be started"):
        measure_command(["no-such-command-anywhere"], lambda: Found([]))


def test_an_interrupted_command_saves_its_work_and_is_still_counted():
    child = "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(7))\nprint(flush=True)\n" \
        "time.sleep(60)"
    code = f"from archfab.silicon.carbon.footprint import measure_command\nfrom archfab.silicon.carbon.meters import " \
        f"Found\nimport sys\nprint(measure_command([sys.executable, '-c', {child!r}], lambda: Found([])).exit)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()                                   # the child is up
    os.killpg(process.pid, signal.SIGINT)                       # as Ctrl-C on a terminal does
    assert process.communicate(timeout=60)[0] == b"7\n"


def test_what_is_wrong_is_said_before_the_command_runs(archfab, tmp_path):
    touch = ["--", sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')"]
    for option, value in (("--gpu-w", -3), ("--memory-gb", "nan"), ("--pue", 0.5), ("--usage", 0.5)):
        archfab("silicon", "footprint", "--grid", "FRA", option, value, *touch, code=2)
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the system has no /proc")
def test_the_memory_of_a_process_and_of_its_children():
    code = "import subprocess, sys\nx = bytearray(60_000_000)\nsubprocess.Popen([sys.executable, '-c', " \
        "'import time; x = bytearray(80_000_000); print(1, flush=True); time.sleep(60)']).wait()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"1\n"
        assert 140e6 < resident_bytes(process.pid) < 400e6
    finally:
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True,
                                  text=True).stdout
        for child in children.split():
            subprocess.run(["kill", child])
        process.kill()
        process.wait()
    assert resident_bytes(2 ** 30) == 0


def run_file(folder, elapsed=100.0, workers=2, threads=3, cores=4, application=0x61726366):
    folder.mkdir()
    db = sqlite3.connect(folder / "run.sqlite")
    db.executescript(f"pragma application_id={application}; create table spec (body text); create table environment "
                     "(body text); create table events (number integer primary key, elapsed real);")
    db.execute("insert into spec values (?)", (f'{{"workers": {workers}, "threads": {threads}}}',))
    db.execute("insert into environment values (?)", (f'{{"cores": {cores}}}',))
    if elapsed is not None:
        db.executemany("insert into events values (?, ?)", [(1, elapsed / 2), (2, elapsed)])
    db.commit()
    db.close()
    return folder


def test_a_past_run_is_its_threads_times_its_time(tmp_path):
    before = (run_file(tmp_path / "run") / "run.sqlite").read_bytes()
    spent = read_run(tmp_path / "run", memory_gb=2.0, usage=0.5)
    assert (spent.seconds, spent.core_seconds, spent.memory_gb) == (100, 100 * 4 * 0.5, 2)      # 6 threads on 4 cores
    assert not spent.joules and "does not keep its processor time" in spent.notes[0]
    assert (tmp_path / "run" / "run.sqlite").read_bytes() == before and len(list((tmp_path / "run").iterdir())) == 1


def test_a_real_run_is_read_without_touching_it(archfab, tmp_path):
    archfab("search", "toy", "--trials", 3, "--run", "r", "--runs", tmp_path, "--no-random", "--deliver", 0)
    answer = archfab("silicon", "footprint", "r", "--runs", tmp_path, "--grid", "FRA", "--pue", 1, "--json").json
    assert answer["origin"] == "analytic" and answer["seconds"] > 0 and answer["energy_kwh"]["low"] > 0
    assert answer["carbon_g"]["value"] == pytest.approx(answer["energy_kwh"]["value"] * answer["grid"]["g_kwh"])


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no run at"):
        read_run(tmp_path)
    with pytest.raises(UsageError, match="no event yet"):
        read_run(run_file(tmp_path / "a", elapsed=None))
    with pytest.raises(UsageError, match="but not a run"):
        read_run(run_file(tmp_path / "b", application=1))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.sqlite").write_text("no database at all, but long enough to be looked at" * 9)
    with pytest.raises(UsageError, match="cannot be read as a run"):
        read_run(tmp_path / "c")
    with pytest.raises(UsageError, match="from 0 to 1"):
        read_run(run_file(tmp_path / "d"), usage=2)


def test_what_the_user_says_of_the_processor_counts(monkeypatch):
    monkeypatch.setattr(estimate, "tdp_table", dict)
    assert core_of(120, 10, "").watts == 12 and core_of(120, 10, "").spread == estimate.KNOWN
    info = "model name : X\nphysical id : 0\ncpu cores : 6\nphysical id : 1\ncpu cores : 6\n"
    assert processor_of(info) == ("X", 2, 6, False)
    assert core_of(90, None, info).watts == 15 and core_of(90, None, info).most_w == 180
    for wrong, message in (((0, 4), "not possible"), ((65, 0), "0 cores"), ((None, 4), "together with --tdp-w"),
                           ((65, None), "say so with --cores")):
        with pytest.raises(UsageError, match=message):
            core_of(*wrong, "")
    with pytest.raises(UsageError, match="cannot be nan"):
        energy_terms(core=CORE, core_hours=math.nan, hours=1, memory_gb=0)


def test_meters_of_this_machine_are_found_or_not_but_never_fail():
    for meter in find_meters().meters:
        assert meter.joules() >= 0
