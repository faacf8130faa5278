"""What comes of delivered networks: exhibits beside the bundle and in the report, predictions on new data."""

from pathlib import Path

import pytest

from archfab import Budget, UsageError, predict, registry, search

LINE = '''"""Finds the slope of a line through noise."""
import numpy as np
import torch
from torch.nn import functional as F

from archfab import choose, nn
from archfab.core import Budget, Estimate, Exhibit, Task, UsageError
from archfab.learning import Recipe, fit


class Line(Task):
    """y = slope * x."""

    name = "line"
    recipe = Recipe(lr=0.05)

    def __init__(self, *, slope: float = 2.0, broken: bool = False) -> None:
        self.x = torch.linspace(-1, 1, 32)[:, None]
        self.slope, self.broken = slope, broken

    def space(self, name=None):
        return nn.Sequential(nn.Linear(choose("width", 2, 4)), nn.Linear(1))

    def example(self, batch=1):
        return (torch.zeros(batch, 1),)

    def budget(self):
        return Budget(steps=60)

    def fit(self, model, budget, rng, full=False, rate=1.0):
        return fit(model, lambda: iter([(self.x, self.slope * self.x)]), 1,
                   lambda batch: F.mse_loss(model(batch[0]), batch[1]), self.recipe, budget)

    def score(self, model, split="validation"):
        with torch.no_grad():
            errors = (model.eval()(self.x) - self.slope * self.x).abs().flatten().tolist()
        return {"error": Estimate.mean_of(errors)}

    def inputs(self, number):
        return (self.x[:number],)

    def preprocessing(self):
        return {"slope": self.slope}

    def exhibits(self, model):
        if self.broken:
            raise RuntimeError("no picture today")
        yield Exhibit("line.svg", "The line.", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>")
        yield Exhibit.table("line.csv", "The points of the line.", ["x", "y"], [(0.5, 1 / 3), ("a,b", 2)])

    @classmethod
    def predict(cls, models, preprocessing, data, *, times: int = 1):
        try:
            x = torch.tensor(np.loadtxt(data, ndmin=1), dtype=torch.float32)[:, None]
        except ValueError as error:
            raise UsageError(f"{data}: {error}") from None
        with torch.no_grad():
            y = torch.stack([model(x) for model in models]).mean(0) * times
        yield Exhibit.table("y.csv", "y for each x.", ["x", "y"], torch.cat([x, y], 1).tolist())


export = Line
'''


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    (folder / "line.py").write_text(LINE)
    made = {}
    for name, options in {"one": {}, "steep": {"slope": 5.0}, "broken": {"broken": True}}.items():
        made[name] = search(str(folder / "line.py"), trials=1, deliver=1, strategy="random", run=folder / name,
                            options=options, full_budget=Budget(steps=80))
    return made


@pytest.fixture
def points(tmp_path):
    (tmp_path / "x.txt").write_text("0.5\n-1\n")
    return tmp_path / "x.txt"


def bundles(run):
    return [member.bundle for member in run.front if member.delivered]


def test_exhibits_lie_in_the_bundle_and_in_the_report(runs):
    folder = bundles(runs["one"])[0]
    assert (folder / "line.csv").read_text() == 'x,y\n0.5,0.3333333333\n"a,b",2\n'
    page = runs["one"].report().read_text()
    assert "What the networks show" in page and "data:image/svg+xml;base64," in page and "line.csv" in page


def test_scores_carry_their_interval_to_the_front_and_to_the_test(runs):
    member = runs["one"].front[0]
    assert member.figures["error"]["low"] < member.metrics["error"] < member.figures["error"]["high"]
    low, high = member.delivered["test_interval"]["error"]
    assert low < member.delivered["test"]["error"] < high


def test_a_network_that_was_trained_for_nothing_is_a_failed_trial(runs, tmp_path):
    """An objective that a task promises and does not give ends a search after its trials."""
    source = (runs["one"].folder.parent / "line.py").read_text().replace(
        'name = "line"', 'name = "line"\n    scores = ("error", "missing")')
    (tmp_path / "line.py").write_text(source)
    run = search(str(tmp_path / "line.py"), trials=2, deliver=0, random=False, strategy="random", run=tmp_path / "run",
                 minimize=["missing"])
    assert run.count("search", "failed") == 2
    assert all("nothing says its missing" in event.note for event in run.of("search", "failed"))


def test_a_fault_in_a_picture_takes_no_network_away(runs):
    delivered = runs["broken"].front[0].delivered
    assert delivered["exhibits"] == [] and "no picture today" in delivered["exhibits_failed"]
    assert "no picture today" in runs["broken"].report().read_text()
    assert (bundles(runs["broken"])[0] / "network.onnx").exists()


def test_predictions_need_neither_the_task_s_options_nor_its_data(runs, points, tmp_path):
    found = predict(bundles(runs["one"]), str(points), tmp_path / "out")
    assert [row["file"] for row in found["files"]] == ["y.csv"]
    header, *rows = (tmp_path / "out" / "y.csv").read_text().split()
    assert header == "x,y" and len(rows) == 2
    assert float(rows[0].split(",")[1]) == pytest.approx(1.0, abs=0.3)


def test_predict_on_the_command_line(archfab, runs, points, tmp_path):
    bundle = bundles(runs["one"])[0]
    answer = archfab("predict", bundle, "--data", points, "--times", 3, "--json")
    assert Path(answer.json["folder"]).name == "predictions-1"
    again = archfab("predict", bundle, "--data", points)
    assert "predictions-2" in again.out.replace("\n", "")
    one, three = ((tmp_path / f"predictions-{i}" / "y.csv").read_text().split()[1].split(",")[1] for i in (2, 1))
    assert float(three) == pytest.approx(3 * float(one), rel=1e-5)


@pytest.mark.parametrize(("words", "said"), [
    (["nowhere", "--data", "x.txt"], "there is no bundle at nowhere"),
    (["BUNDLE", "--data", "nothing.txt"], "there is no data at nothing.txt"),
    (["BUNDLE", "--data", "bad.txt"], "bad.txt: could not convert"),
    (["BUNDLE", "--data", "x.txt", "--tims", "2"], "no option --tims; known: --times"),
    (["BUNDLE", "--data", "x.txt", "--times", "two"], "--times takes a whole number"),
    (["BUNDLE", "STEEP", "--data", "x.txt"], "differ in their preprocessing"),
    (["BUNDLE", "--data", "x.txt", "--out", "."], "is there already and not empty")])
def test_a_wrong_request_says_what_is_wrong(archfab, runs, points, words, said):
    (points.parent / "bad.txt").write_text("x\n")
    places = {"BUNDLE": bundles(runs["one"])[0], "STEEP": bundles(runs["steep"])[0]}
    answer = archfab("predict", *[places.get(word, word) for word in words], code=2)
    assert said in answer.err
    assert not list(points.parent.glob("predictions-*"))


def test_a_task_without_predictions_says_what_else_there_is():
    with pytest.raises(UsageError, match=r"task 'toy' are used through ONNX or archfab\.load_model"):
        registry.load("tasks", "toy").predict([], {}, "images")
