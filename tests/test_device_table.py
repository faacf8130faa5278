"""`archfab device table`: a table of a tiny space's kernels, measured here, and what cannot be one."""

import pytest

from archfab.evaluate import load_device

TINY = """from archfab import choose, nn
width = choose("width", 4, 8)
space = nn.Sequential(nn.ConvNormAct(width, choose("kernel", 1, 3), stride=2), nn.Classifier(classes=10))
"""
FAST = 'model = "host"\nseconds = 0.02\nwarmup = 0.01\nblocks = 1\nagain = 0\nprofile = 2\nrefuse = 1e9\n'


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A tiny space, a device that measures in no time, and a folder for the user's own devices."""
    monkeypatch.setenv("ARCHFAB_DEVICES", str(tmp_path / "devices"))
    (tmp_path / "tiny.py").write_text(TINY)
    (tmp_path / "fast.toml").write_text(FAST)
    return tmp_path / "devices"


def words(name="mine", on="fast.toml", networks=2):
    return ("device", "table", name, "--on", on, "--task", "vision", "--space", "tiny.py", "--networks", networks)


@pytest.mark.slow
def test_a_table_is_measured_named_used_replaced_and_removed(archfab, places):
    made = archfab(*words(), "--json").json
    assert made["device"] == "mine" and made["kernels"] == 8 and made["drawn"] == len(made["checked"]) == 2
    assert made["measured_on"] == "fast.toml" and not made["not_measured"]
    assert {path.name for path in places.iterdir()} == {"mine.csv", "mine.toml"}
    device = load_device(str(places / "mine.toml"))
    assert len(device.table.entries) == 8 and device.scale["value"] == pytest.approx(made["scale"])
    assert "mine" in {row["name"] for row in archfab("list", "devices", "--json").json}
    (places.parent / "one.json").write_text('{"width": 8, "kernel": 3}')
    costs = archfab("cost", "vision", "--space", "tiny.py", "--genotype", "one.json", "--device", "mine", "--json").json
    assert not costs["unknown"] and costs["costs"]["latency_ms"]["origin"] == "calibrated"
    assert "there is a device 'mine' already" in archfab(*words(), code=2).err
    shown = archfab(*words(), "--replace")
    assert "8 kernels measured on fast.toml" in shown.out and "use it: --device mine" in shown.out
    assert "8 of 8 kernels measured" in shown.err
    archfab("device", "remove", "mine")
    assert not list(places.iterdir())


@pytest.mark.parametrize("changes, said", [
    ({"name": "host"}, "'host' is a device that comes with archfab"),
    ({"name": "a b"}, "'a b' is no name for a device"),
    ({"on": "tpu-like"}, "'tpu-like' does not run networks, so it measures no kernels; give host"),
    ({"on": "host-torch"}, "one by one through onnxruntime, and 'host-torch' runs torch; give host"),
    ({"on": "hots"}, "no device named 'hots'"),
    ({"networks": 1}, "two random networks or more, not 1")])
def test_what_cannot_be_a_table_is_refused_and_leaves_nothing(archfab, places, changes, said):
    assert said in archfab(*words(**changes), code=2).err
    assert not places.exists() or not list(places.iterdir())


def test_a_task_without_networks_has_no_kernels(archfab, places):
    said = archfab("device", "table", "mine", "--on", "fast.toml", "--task", "toy", code=2).err
    assert "has no networks, so none that could be measured" in said


def test_what_is_not_ones_own_is_not_removed(archfab, places):
    assert "comes with archfab and stays" in archfab("device", "remove", "tpu-like", code=2).err
    assert "no device of your own named 'mine'" in archfab("device", "remove", "mine", code=2).err
