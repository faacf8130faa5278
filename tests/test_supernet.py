"""Shared weights in a run: trained in lessons, kept, resumed, used again, checked, and refused where they are wrong."""

import json
import random
import shutil
import time

import pytest
import torch
from driving import Stop, log
from torch import nn as tnn

import archfab
from archfab import Space, UsageError, nn, registry
from archfab.core import Diverged, Event
from archfab.deliver import load_model, replay
from archfab.estimators import _shared
from archfab.learning import calibration, recalibrate
from archfab.runs import Run, Store
from archfab.runs.shared import lessons, trust
from archfab.search import resume

VISION = registry.load("tasks", "vision")
SMALL = {"space": "attention", "estimator": "supernet", "trials": 4, "deliver": 1, "threads": 1,
         "trial_budget": archfab.Budget(steps=10)}


def run_of(folder, task=None, watcher=None, **changed):
    given = changed.pop("options", {})
    options = given if "supernet" in given else {"lessons": 2, "sampling": "spos", "check": 3, **given}
    return archfab.search(task or "vision", run=folder, options=options, watcher=watcher, **{**SMALL, **changed})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run with a supernet."""
    return run_of(tmp_path_factory.mktemp("runs") / "one")


def test_a_run_teaches_scores_checks_and_delivers(trained):
    kinds = [event.kind for event in trained.events]
    assert kinds[:2] == ["lesson", "lesson"] and kinds.count("ok") == 8 and kinds.count("checked") == 3
    assert [row["number"] for row in lessons(trained)] == [1, 2]
    document = trained.plain()
    assert document["lessons"] == 2 and document["ranking"]["number"] == 3
    assert any("shared weights" in sentence for sentence in document["verdict"])
    assert "Shared weights" in trained.report().read_text()
    json.dumps(document, allow_nan=False)
    assert _shared.lessons_in(trained.folder / "shared") == [1, 2]


def test_a_delivered_network_has_its_shared_weights_and_can_be_derived_again(trained):
    member = next(member for member in trained.front if member.delivered)
    task = VISION()
    estimator = registry.load("estimators", "supernet")(supernet=str(trained.folder))
    ours, _ = estimator.network(task, Space(task.space("attention")), member.genotype, random.Random(0))
    theirs = load_model(member.bundle)
    assert all(torch.equal(a, b) for a, b in zip(ours.cpu().state_dict().values(), theirs.state_dict().values(),
                                                 strict=True))
    assert replay(member.bundle)["same"]


@pytest.mark.slow
def test_another_search_uses_the_weights_as_they_are(trained, tmp_path):
    again = run_of(tmp_path / "two", space=None, strategy="evolution", device="cortex-m7",
                   options={"supernet": str(trained.folder)})
    assert not lessons(again) and not any(event.kind == "checked" for event in again.events)
    assert again.spec.space == trained.spec.space and again.spec.check == 0
    assert trust(again)[1].startswith(trust(trained)[1].rstrip(".")[:40]) and "one" in trust(again)[1]
    known = next(event for event in trained.events if event.kind == "ok")
    found, _ = estimator(trained.folder).estimate(VISION(), Space(VISION().space("attention")), known.trial.genotype,
                                                  archfab.Budget(), random.Random(1))
    assert found["error"] == known.metrics["error"] and found["loss"] == known.metrics["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "number"), [("lesson", 1), ("lesson", 2), ("ok", 2), ("checked", 1)])
def test_a_run_interrupted_anywhere_goes_on_to_the_same_end(trained, tmp_path, kind, number):
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "one", watcher=Stop(kind, number))
    resume(tmp_path / "one")
    assert log(tmp_path / "one") == log(trained.folder)


@pytest.mark.slow
def test_a_lesson_that_was_kept_but_not_logged_is_given_again_with_equal_weights(trained, tmp_path):
    """Killed between the two: the file of lesson 2 is there, its event is not."""
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "one", watcher=Stop("lesson", 1))
    shutil.copy(_shared.file_of(trained.folder / "shared", 2), tmp_path / "one" / "shared")
    resume(tmp_path / "one")
    one, other = (torch.load(_shared.file_of(folder / "shared", 2), weights_only=True)["weights"]
                  for folder in (tmp_path / "one", trained.folder))
    assert all(torch.equal(one[key], other[key]) for key in other)


@pytest.mark.slow
def test_a_run_with_shared_weights_that_is_killed_goes_on_to_the_same_end(tmp_path):
    from test_resume import kill_and_resume, undisturbed
    words = ["search", "vision", "--space", "attention", "--estimator", "supernet", "--lessons", "3", "--trials", "3",
             "--check", "2", "--steps", "4", "--deliver", "0", "--no-random", "--run", "one"]
    kill_and_resume(words, tmp_path, [random.Random(time.time_ns()).uniform(4, 8) for _ in range(3)])
    assert log(tmp_path / "runs" / "one") == undisturbed(words, tmp_path)


@pytest.mark.slow
def test_a_space_that_changed_since_is_refused_at_resume(tmp_path):
    file = tmp_path / "space.py"
    text = ("from archfab import nn, choose\n"
            "space = nn.Sequential(nn.Flatten(), nn.Linear(choose('w', 4, {})), nn.Linear(10))")
    file.write_text(text.format(8))
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "one", space=str(file), watcher=Stop("lesson", 1), options={"check": 0})
    file.write_text(text.format(16))
    with pytest.raises(UsageError, match=r"another one than when this run began.*restore it"):
        resume(tmp_path / "one")
    file.write_text(text.format(8))
    assert resume(tmp_path / "one").finished


# --- learning

def test_lessons_make_the_loss_small(trained):
    first, last = (row["loss"] for row in lessons(trained))
    assert last < first


@pytest.mark.slow
def test_enas_alternates_between_trials_and_lessons_on_the_controllers_networks(tmp_path):
    run = run_of(tmp_path / "enas", strategy="reinforce", trials=6, deliver=0, random=False,
                 options={"sampling": "policy", "every": 2, "lessons": 3, "check": 0})
    kinds = [event.kind for event in run.events if event.kind in ("lesson", "ok")]
    assert kinds == ["lesson", "ok", "ok"] * 3
    assert len(run.kept()) == 2                         # scores count from the last lesson on


def test_a_time_for_lessons_is_kept_though_they_grow_longer():
    """Progressive shrinking: later lessons learn on more networks a step, so that fewer of them fit."""
    one = registry.load("estimators", "supernet")(minutes=10, lessons=30)
    given = []
    for seconds, of in ((60, 10), (60, 10), (120, 6), (120, 6), (240, 6)):
        asked = one.lesson(given, 0.0)
        assert asked.data["minutes"] == pytest.approx(10 - sum(event.data["seconds"] for event in given) / 60)
        assert asked.data["of"] == (given[-1].data["of"] if given else 30)
        given.append(Event("lesson", data={"seconds": seconds, "of": of}))
    assert one.lesson(given, 0.0) is None                   # the time is up
    assert one.lesson([Event("lesson", data={"seconds": 100, "of": 1})], 0.0) is None


def test_recalibrated_statistics_are_the_means_over_the_batches():
    task = VISION()
    model = tnn.Sequential(tnn.Conv2d(1, 4, 3), tnn.BatchNorm2d(4), tnn.Dropout(0.5))
    task.place(model)
    with torch.no_grad():
        model[1].running_mean.fill_(9.0)
    recalibrate(model, task, calibration(task, 3))
    batches = list(task.batches("train", random.Random("recalibrate")))[:3]
    with torch.no_grad():
        inner = [model[0](x) for x, _ in batches]
    assert torch.allclose(model[1].running_mean, torch.stack([x.mean((0, 2, 3)) for x in inner]).mean(0), atol=1e-5)
    assert torch.allclose(model[1].running_var, torch.stack([x.var((0, 2, 3)) for x in inner]).mean(0), atol=1e-4)
    assert not model.training and model[1].momentum == 0.1


def test_shares_of_the_training_data_are_apart_and_stay_the_same():
    task = VISION(shift=0.0, flip="no")

    def images(part, seed):
        batches = task.batches("train", random.Random(seed), part)
        return {x.cpu().numpy().tobytes() for batch, _ in batches for x in batch}

    one, other = images((0.0, 0.5), 0), images((0.5, 1.0), 1)
    assert images((0.0, 0.5), 2) == one and one | other == images((0.0, 1.0), 3)
    assert len(one & other) <= len(task.parts["train"][1]) - len(one | other)       # but for images that are equal


# --- what is refused

def estimator(folder, **options):
    return registry.load("estimators", "supernet")(supernet=str(folder), **options)


def scored(folder, space="attention", **options):
    task = VISION(**options)
    space = Space(task.space(space))
    genotype = space.sample(random.Random(0))
    return estimator(folder).estimate(task, space, genotype, archfab.Budget(), random.Random(0))


@pytest.fixture
def copied(trained, tmp_path):
    folder = tmp_path / "copy"
    (folder / "shared").mkdir(parents=True)
    for path in (trained.folder / "shared").iterdir():
        shutil.copy(path, folder / "shared")
    return folder


def test_weights_that_are_not_finite_are_refused_with_their_name(copied):
    path = _shared.file_of(copied / "shared", 2)
    state = torch.load(path, weights_only=True)
    name = next(name for name, tensor in state["weights"].items() if tensor.dim() > 1)
    state["weights"][name][0, 0] = float("nan")
    torch.save(state, path)
    with pytest.raises(UsageError, match=f"not finite.*{name}"):
        scored(copied)


def test_weights_of_another_space_are_refused_before_anything_starts(copied, tmp_path):
    with pytest.raises(UsageError, match="belong to another space"):
        scored(copied, "cell")
    with pytest.raises(UsageError, match=r"inputs \[\[1, 1, 8, 8\]\], not \[\[1, 1, 16, 16\]\]; give the task, data"):
        scored(copied, size=16)
    with pytest.raises(UsageError, match=r"validation \['.*entries of mean.*, not \['"):
        scored(copied, validation=0.3)
    with pytest.raises(UsageError, match="belong to another space"):
        run_of(tmp_path / "two", space="cell", options={"supernet": str(copied)})
    assert not (tmp_path / "two").exists()


def test_weights_that_do_not_fit_are_refused(copied):
    path = _shared.file_of(copied / "shared", 2)
    state = torch.load(path, weights_only=True)
    del state["weights"][next(iter(state["weights"]))]
    torch.save(state, path)
    with pytest.raises(UsageError, match="do not fit"):
        scored(copied)


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\3\4 broken"])
def test_damaged_weights_are_refused(copied, content):
    _shared.file_of(copied / "shared", 2).write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read"):
        scored(copied)


class Scale(tnn.Module):
    """A user's part that does not say how a smaller one is cut out of a larger."""

    def __init__(self, num_features):
        super().__init__()
        self.weight = tnn.Parameter(torch.ones(num_features))

    def forward(self, x):
        return x * self.weight


class Bomb:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_a_pickle_among_the_weights_is_not_run(copied, capsys):
    path = _shared.file_of(copied / "shared", 2)
    torch.save({"format": 1, "lesson": 2, "space": Bomb(), "made_for": {}, "weights": {}, "optimizers": {}}, path)
    with pytest.raises(UsageError, match="cannot be read"):
        scored(copied)
    assert "must not run" not in capsys.readouterr().out


def test_a_run_without_shared_weights_is_refused_before_anything_starts(tmp_path):
    archfab.search("toy", trials=2, run=tmp_path / "toy")
    with pytest.raises(UsageError, match="no shared weights"):
        run_of(tmp_path / "two", options={"supernet": str(tmp_path / "toy")})
    assert not (tmp_path / "two").exists()


def test_weights_of_a_run_that_is_not_finished_are_refused(trained, tmp_path):
    shutil.copytree(trained.folder, tmp_path / "source")
    store = Store.open(tmp_path / "source")
    store._db.execute("delete from events where number > 4")
    store.close()
    with pytest.raises(UsageError, match=r"is not finished.*archfab resume"):
        run_of(tmp_path / "two", options={"supernet": str(tmp_path / "source")})


def test_a_space_whose_weights_cannot_be_shared_is_refused_before_anything_starts(tmp_path):
    space = [nn.Flatten(), nn.Linear(archfab.choose("width", 4, 8)), archfab.describe(Scale)(), nn.Linear(10)]
    with pytest.raises(UsageError, match=r"elastic.*'width'.*Scale.*lend\(self, small\)"):
        run_of(tmp_path / "one", space=space, options={"check": 0}, deliver=0)
    assert not (tmp_path / "one").exists()


def test_a_loss_that_is_no_number_ends_the_run_with_the_reason(tmp_path):
    class Broken(VISION):
        def loss(self, answer, batch):
            return super().loss(answer, batch) * float("nan")

    run = run_of(tmp_path / "one", task=Broken(), deliver=0, options={"check": 0})
    assert not run.front and "lesson 1 failed" in str([event.data for event in run.events])
    assert "lesson" in run.trouble() and "nan" in run.trouble()


def test_a_task_without_batches_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(UsageError, match=r"lacks batches.*another estimator"):
        archfab.search("toy", estimator="supernet", run=tmp_path / "one")


def test_keeping_weights_that_diverged_is_an_error(tmp_path):
    net = tnn.Linear(2, 2)
    with torch.no_grad():
        net.weight[0, 0] = float("inf")
    with pytest.raises(Diverged, match="weight"):
        _shared.keep(tmp_path, 1, VISION(), Space(nn.Linear(2)), net, {})


def test_only_the_last_two_lessons_stay_on_disk(tmp_path):
    for lesson in range(1, 6):
        _shared.keep(tmp_path, lesson, VISION(), Space(nn.Linear(2)), tnn.Linear(2, 2), {})
    assert _shared.lessons_in(tmp_path) == [4, 5]


# --- whether it can be trusted

@pytest.mark.parametrize(("alone", "words"), [
    ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "rank networks as training alone does"),
    ([0.6, 0.2, 0.5, 0.1, 0.4, 0.3], "can NOT be trusted"),
    ([0.1, 0.2, 0.3], "too few"), ([0.1], "Too few")])
def test_the_verdict_says_whether_shared_weights_rank_well(trained, alone, words):
    run = Run(trained.folder)
    source = next(event for event in run.events if event.kind == "ok")
    from dataclasses import replace
    trials = [replace(source.trial, number=1000 + i) for i in range(len(alone))]
    run.events = [Event("ok", trial, {"error": i / 10}) for i, trial in enumerate(trials)] + [
        Event("checked", trial, {"error": value}) for trial, value in zip(trials, alone, strict=True)]
    assert words in trust(run)[1]


# --- in other processes, bounded in time

@pytest.mark.parametrize("fault", [pytest.param("nan", marks=pytest.mark.slow), "space",
                                   pytest.param("damaged", marks=pytest.mark.slow)])
def test_weights_gone_bad_between_two_lessons_are_said_at_resume_and_nothing_is_lost(trained, tmp_path, archfab, fault):
    folder = tmp_path / "runs" / "one"
    shutil.copytree(trained.folder, folder)
    store = Store.open(folder)
    store._db.execute("delete from events where number > 1")
    store.close()
    path = _shared.file_of(folder / "shared", 1)
    good = path.read_bytes()
    state = torch.load(path, weights_only=True)
    if fault == "nan":
        next(iter(state["weights"].values())).view(-1)[0] = float("nan")
    state["space"] = "0" * 12 if fault == "space" else state["space"]
    torch.save(state, path)
    if fault == "damaged":
        path.write_bytes(good[:100])
    answer = archfab("resume", "one", code=2)
    assert {"nan": "not finite", "space": "another space", "damaged": "cannot be read"}[fault] in answer.err
    assert [row[1] for row in log(folder)] == ["lesson"]
    if fault == "nan":
        path.write_bytes(good)
        resume(folder)
        assert log(folder) == log(trained.folder)


@pytest.mark.slow
def test_two_workers_score_with_the_same_weights_as_one(tmp_path):
    found = []
    for workers in (1, 2):
        run = run_of(tmp_path / str(workers), workers=workers, deliver=0, random=False, strategy="random",
                     options={"check": 0})
        found.append({Space.id(event.trial.genotype): event.metrics["error"] for event in run.of("search", "ok")})
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["random", "gdas"])
def test_a_budget_in_time_leaves_some_for_trials(tmp_path, strategy):
    options = {"lessons": 500} if strategy == "gdas" else {"lessons": 500, "sampling": "spos", "check": 0}
    run = archfab.search("vision", space="attention", strategy=strategy, run=tmp_path / "one", budget=12, deliver=0,
                         random=False, estimator="relaxed" if strategy == "gdas" else "supernet", threads=1,
                         trial_budget=archfab.Budget(steps=2), options=options)
    assert 1 <= len(lessons(run)) < 100 and run.front


@pytest.mark.parametrize("space", ["cell", *(pytest.param(each, marks=pytest.mark.slow)
                                             for each in ("mobile", "attention"))])
@pytest.mark.parametrize("sampling", registry.names("sampling"))
def test_every_rule_teaches_real_weights_on_every_space(sampling, space):
    from archfab.estimators._student import Student
    task = VISION()
    student = Student(task, Space(task.space(space)))
    rng = random.Random(0)
    student.proposals = [student.draw(rng) for _ in range(2)]
    batch = tuple(part[:16] for part in next(task.batches("train", rng)))
    before = [weight.detach().clone() for weight in student.net.parameters()]
    loss = registry.load("sampling", sampling)(student, batch, 1.0, rng)
    student.optimizer.step()
    assert 0 < loss < 100
    assert any(not torch.equal(a, b) for a, b in zip(before, student.net.parameters(), strict=True))
    assert all(bool(torch.isfinite(weight).all()) for weight in student.net.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("space", ["cell", "mobile", "attention"])
@pytest.mark.parametrize("sampling", registry.names("sampling"))
def test_every_sampling_leads_to_a_delivered_network_on_every_space(tmp_path, sampling, space):
    more = {"every": 1} if sampling == "policy" else {}
    run = run_of(tmp_path / "one", space=space, trials=2, random=False, strategy="reinforce",
                 options={"sampling": sampling, "check": 2, "batch": 128, **more})
    assert len(lessons(run)) == 2 and run.best.delivered
    checked = [event for event in run.events if event.kind == "checked" and not event.note]
    assert len(checked) == (1 if sampling == "policy" else 2)       # scores count from the last lesson on


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["shrinking", "attentive", "policy"])
def test_every_kind_of_sampling_resumes_to_the_same_end(tmp_path, sampling):
    options = {"sampling": sampling, "lessons": 3, "check": 0, **({"every": 1} if sampling == "policy" else {})}
    run_of(tmp_path / "whole", deliver=0, strategy="reinforce", options=options)
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "one", deliver=0, strategy="reinforce", options=options, watcher=Stop("lesson", 2))
    resume(tmp_path / "one")
    assert log(tmp_path / "one") == log(tmp_path / "whole")


@pytest.mark.parametrize("sampling", registry.names("sampling"))
def test_networks_that_cannot_be_built_are_not_learned_on(sampling):
    from archfab.estimators._student import Student
    space = Space([nn.Patches(archfab.choose("width", 64, 96), 2),
                   nn.TransformerEncoderLayer(archfab.choose("heads", 3, 4), 64, batch_first=True, dropout=0.0),
                   nn.TokenClassifier(10)])             # 64 is no multiple of 3
    student, rng = Student(VISION(), space), random.Random(0)
    student.proposals = list(space)
    assert not all(map(student.can, space)) and student.can(student.net.largest)
    batch = tuple(part[:8] for part in next(student.task.batches("train", rng)))
    for _ in range(6):
        assert registry.load("sampling", sampling)(student, batch, 1.0, rng) > 0


def test_a_lesson_that_fails_leaves_no_weights_that_were_half_trained(trained, tmp_path):
    shutil.copytree(trained.folder / "shared", tmp_path / "shared")
    task, one = VISION(), registry.load("estimators", "supernet")(sampling="spos")
    space = Space(task.space("attention"))
    one.folder, one.taught = tmp_path / "shared", 2
    genotype = space.sample(random.Random(0))

    def scores():
        return one.estimate(task, space, genotype, archfab.Budget(), random.Random(0))[0]

    before, step, steps = scores(), one.step, []

    def failing(*given):
        steps.append(given)
        return step(*given) if len(steps) < 5 else float("nan")

    one.step = failing
    with pytest.raises(Diverged):
        one.teach(task, space, 3, {"of": 3}, random.Random(0))
    assert len(steps) == 5 and scores() == before


@pytest.mark.parametrize(("words", "message"), [
    (["--supernet", "nowhere", "--lessons", "3", "--sampling", "spos"], "--sampling, --lessons would have no effect"),
    (["--every", "3"], "only --sampling policy"),
    (["--strategy", "hyperband"], "shorter trials"), (["--full-epochs", "3"], "--retrain yes"),
    (["--retrain", "yes", "--finetune", "2"], "either tuned"), (["--lessons", "0"], "from 1 up"),
    (["--sampling", "spo"], "did you mean 'spos'"), (["--supernet", "nowhere"], "no shared weights")])
def test_requests_without_sense_are_refused(archfab, words, message):
    answer = archfab("search", "vision", "--estimator", "supernet", *words, code=2)
    assert message in answer.err
