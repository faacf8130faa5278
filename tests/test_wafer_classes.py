"""Wafer maps as images: nothing lost on the way to one size, parts kept apart, rare classes scored like common ones."""

import csv
import io
import json
import random
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, f1_score

from archfab import Budget, Space, UsageError, nn
from archfab.learning import seed_torch
from archfab.lowering.concrete import build
from archfab.metrics.classification import balanced_error, confusion, macro_f1, scores
from archfab.tasks.vision import Vision, balanced
from archfab.tasks.vision.data import read_images
from archfab.tasks.vision.exhibits import by_class, picture
from archfab.tasks.vision.wafers import drawn, read

NAMES = ("Center", "None", "Scratch")


def disc(rows, columns):
    """A round wafer without a failing die."""
    down, across = np.indices((rows, columns))
    far = np.hypot((down + 0.5) / rows - 0.5, (across + 0.5) / columns - 0.5)
    return (far < 0.5).astype(np.uint8), far


def wafer(label, rng):
    """A map of its pattern, of any size."""
    rows, columns = rng.integers(20, 40, 2)
    codes, far = disc(rows, columns)
    failing = rng.random((rows, columns)) < (0.8 if label == "Center" else 0.03) * (far < 0.2)
    if label == "Scratch":
        at = rng.integers(6, columns - 6)
        failing[3:-3, at:at + 3] = True
    return np.where((codes == 1) & failing, 2, codes).astype(np.uint8)


def write(path, maps, labels=None, **arrays):
    data = {"flat": np.concatenate([each.ravel() for each in maps]),
            "shape": np.array([each.shape for each in maps], np.int16)}
    if labels is not None:
        data["failureType"] = np.array(labels)
    np.savez_compressed(path, **{**data, **arrays})
    return path


def make(folder, **numbers):
    """Files of parts with so many maps, a fifth of them Center, few Scratch."""
    rng = np.random.default_rng(0)
    for part, number in numbers.items():
        labels = ["Scratch" if i % 20 == 0 else "Center" if i % 5 == 1 else "None" for i in range(number)]
        write(folder / f"{part}.npz", [wafer(label, rng) for label in labels], labels)
    return folder


# --- scores and their intervals


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_scores_agree_with_scikit_learn_and_lie_in_their_intervals(classes, n, seed):
    rng = np.random.default_rng(seed)
    truth, said = rng.integers(0, classes, n), rng.integers(0, classes, n)
    found = scores(confusion(truth, said, classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")         # of classes that no image has
        assert found["balanced_error"] == pytest.approx(1 - balanced_accuracy_score(truth, said))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert found["error"] == pytest.approx((truth != said).mean())
    for value in found.values():
        assert 0 <= value.low <= value <= value.high <= 1


@pytest.mark.parametrize("right", [[0.995] * 6, [0.95, 0.7, 0.9]])
def test_intervals_hold_the_truth_also_where_a_plain_delta_method_s_do_not(right):
    rng, counts = np.random.default_rng(1), np.array([40] * 6 if len(right) == 6 else [200, 8, 60])
    chances = np.array([[p if i == j else (1 - p) / (len(right) - 1) for j in range(len(right))]
                        for i, p in enumerate(right)])
    true_f1 = macro_f1(np.rint(chances * counts[:, None] * 1e7).astype(np.int64))
    held, tries = np.zeros(2), 400
    for _ in range(tries):
        table = np.stack([rng.multinomial(n, row) for n, row in zip(counts, chances, strict=True)])
        error, score = balanced_error(table), macro_f1(table)
        held += [error.low <= 1 - np.mean(right) <= error.high, score.low <= true_f1 <= score.high]
    assert (held / tries > 0.92).all(), held / tries


def test_the_interval_of_macro_f1_is_the_delta_method_s_in_large_samples():
    table = np.array([[7000, 300, 100], [200, 900, 50], [30, 40, 500]])
    value, n = float(macro_f1(table)), table.sum()
    slopes = np.zeros(table.shape)
    for at in np.ndindex(*table.shape):
        more = table.astype(float)
        more[at] += 1e-4 * n
        tp, size = np.diag(more), more.sum(0) + more.sum(1)
        slopes[at] = ((2 * tp / size).mean() - value) / 1e-4
    share = table / n
    spread = np.sqrt(((share * slopes**2).sum() - (share * slopes).sum() ** 2) / n)
    found = macro_f1(table)
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.02)


# --- maps become images


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_no_die_is_lost_or_counted_twice(rows, columns, size, seed):
    codes = np.random.default_rng(seed).integers(0, 3, (rows, columns)).astype(np.uint8)
    share, there = drawn([codes], size)[0] / 255
    assert there.mean() == pytest.approx((codes > 0).mean(), abs=0.003)
    assert (share * there).mean() == pytest.approx((codes == 2).mean(), abs=0.005)


@pytest.mark.parametrize("shape", [(22, 15), (27, 25), (64, 71), (212, 204)])
def test_a_scratch_one_die_wide_stays_whole(shape):
    """Between its ends every row of pixels shows it; the nearest die alone loses most of it on large wafers."""
    codes, _ = disc(*shape)
    codes[:, shape[1] // 2 + 1] = 2
    share = drawn([codes], 32)[0, 0]
    assert share.max(1).min() >= 255 * min(1, 32 / shape[1]) / 2 - 1


def test_an_image_of_the_map_s_own_size_is_the_map():
    codes = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]], np.uint8)
    assert np.array_equal(drawn([codes], 3)[0], np.array([codes == 2, codes > 0]) * 255)
    assert drawn([codes[:1]], 2).shape == (1, 2, 2, 2)
    assert drawn([np.array([[1, 2, 2, 0]], np.uint8)], 2)[0].tolist() == [[[128, 255]] * 2, [[255, 128]] * 2]


def test_a_turned_map_is_the_turned_image():
    codes = wafer("Scratch", np.random.default_rng(3))
    assert np.array_equal(drawn([np.rot90(codes)], 24)[0], np.rot90(drawn([codes], 24)[0], axes=(1, 2)))


# --- parts


def test_files_say_their_part_and_copies_are_learned_from_nowhere(tmp_path):
    rng = np.random.default_rng(0)
    pool = [wafer(NAMES[i % 3], rng) for i in range(60)]
    label = [NAMES[i % 3] for i in range(60)]

    def part(name, chosen):
        write(tmp_path / name, [pool[i] for i in chosen], [label[i] for i in chosen])

    part("train_29.npz", [*range(0, 30), 0])             # one map is there twice: nothing is divided, so it may
    part("my-val.npz", [*range(30, 45), 2, 5])           # two copies of training maps
    part("test.npz", [*range(45, 60), 3, 31])            # one of training, one of validation
    with pytest.warns(UserWarning, match="1 validation maps are left out.*3 train maps are left out"):
        images = read_images(tmp_path)
    assert [len(images.y_train), len(images.y_validation), len(images.y_test)] == [28, 16, 17]
    assert images.x_train.shape[1:] == (2, 32, 32) and images.classes == NAMES
    assert np.array_equal(images.x_test, drawn([pool[i] for i in [*range(45, 60), 3, 31]], 32))
    assert [images.classes[i] for i in images.y_validation] == [label[i] for i in [*range(30, 45), 2, 5] if i != 31]
    with pytest.warns(UserWarning):
        task = Vision(data=str(tmp_path), size=20)
    assert np.array_equal(task.parts["test"][1], images.y_test) and len(task.parts["validation"][1]) == 16
    assert task.example()[0].shape == (1, 2, 20, 20)


def test_a_single_file_is_divided_without_copies_on_both_sides(tmp_path):
    rng = np.random.default_rng(0)
    maps = [wafer(NAMES[i % 3], rng) for i in range(60)]
    labels = [NAMES[i % 3] for i in range(60)]
    write(tmp_path / "lots.npz", maps + maps[:7] + maps[:2], [*labels, *labels[:7], "", ""])
    with pytest.warns(UserWarning, match="2 maps have no label.*7 maps that are there twice"):
        task = Vision(data=str(tmp_path / "lots.npz"))
    rows = [{image.tobytes() for image in task.parts[name][0]} for name in task.parts]
    assert sum(map(len, rows)) == 60 == len(set.union(*rows))


BAD = {
    "no labels": (lambda f: write(f / "a.npz", [np.ones((3, 3), np.uint8)]), "has no labels"),
    "unknown codes": (lambda f: write(f / "a.npz", [np.full((3, 3), 7, np.uint8)] * 4, list("aabb")), "unknown codes"),
    "no dies": (lambda f: write(f / "a.npz", [np.zeros((3, 3), np.uint8)] * 4, list("aabb")), "map 0 .* has no dies"),
    "one class": (lambda f: write(f / "a.npz", list(np.eye(4, 9, dtype=np.uint8)[:, None] + 1), list("aaaa")),
                  "at least 2 classes"),
    "cut off": (lambda f: write(f / "a.npz", [np.ones((3, 3), np.uint8)], ["a"], flat=np.ones(5, np.uint8)),
                "cut off"),
    "shapes of text": (lambda f: write(f / "a.npz", [np.ones((3, 3), np.uint8)], ["a"], shape=np.array([["3", "3"]])),
                       "shape"),
    "pickled": (lambda f: write(f / "a.npz", [np.ones((3, 3), np.uint8)], np.array(["a"], object)), "pickled"),
    "numbers for labels": (lambda f: write(f / "a.npz", [np.ones((3, 3), np.uint8)], [3]), "text"),
    "a part in no name": (lambda f: (make(f, train=20), make(f, others=20)), "others.npz does not say"),
    "two parts in a name": (lambda f: (make(f, train=20), make(f, train_test=20)), "does not say"),
    "nothing to train on": (lambda f: make(f, val=20, test=20), "no maps to train on"),
    "a class of test alone": (lambda f: (make(f, train=40), write(f / "test.npz", [disc(9, 9)[0]], ["Donut"])),
                              "test label Donut is not among the train labels"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_says_what_is_wrong(name, tmp_path):
    build, said = BAD[name]
    build(tmp_path)
    with pytest.raises(UsageError, match=said):
        read_images(tmp_path)


def test_a_size_that_needs_too_much_room_is_refused(tmp_path):
    with pytest.raises(UsageError, match="give a smaller size"):
        read_images(make(tmp_path, train=40), 200_000)


def test_other_archives_are_read_as_before(tmp_path):
    make(tmp_path, train=20)
    np.savez(tmp_path / "x.npz", x_train=np.zeros((4, 3, 3), np.uint8), y_train=[0, 0, 1, 1])
    with pytest.raises(UsageError, match="more than one data set"):
        read_images(tmp_path)
    assert read_images(tmp_path / "x.npz").kind == "images"


@pytest.mark.shared
def test_the_wm811k_subset(shared_data):
    """Its README counts 21 maps of train and test, 25 of train and val, 16 of val and test."""
    with pytest.warns(UserWarning, match="16 validation maps are left out.*47 train maps are left out"):
        images = read(sorted((shared_data / "wm811k-subset").glob("*.npz")), 16)
    assert [len(y) for y in (images.y_train, images.y_validation, images.y_test)] == [18051 - 47, 12450 - 16, 12450]
    assert images.classes == ("Center", "Donut", "Edge-Loc", "Edge-Ring", "Loc", "Near-full", "None", "Random",
                              "Scratch")
    assert np.bincount(images.y_test).tolist() == [859, 111, 1038, 1936, 719, 30, 7346, 173, 238]
    raw = np.load(shared_data / "wm811k-subset" / "test.npz")
    sizes = raw["shape"].astype(int).prod(1)
    failing = np.add.reduceat((raw["flat"] == 255).astype(float), np.cumsum(sizes) - sizes) / sizes
    share, there = images.x_test.transpose(1, 0, 2, 3) / 255
    assert (share * there).mean((1, 2)) == pytest.approx(failing, abs=0.005)


# --- balance and augmentation


@pytest.mark.parametrize(("balance", "expected"), [(0.0, [900, 90, 10]), (1.0, [1000 / 3] * 3),
                                                   (0.5, [1000 * w / 42.65 for w in (30, 9.487, 3.162)])])
def test_classes_are_drawn_as_their_balance_says_and_images_of_one_alike(balance, expected):
    y = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)[torch.randperm(1000, generator=torch.Generator().manual_seed(1))]
    taken = balanced(y, balance, torch.Generator().manual_seed(0))
    assert len(taken) == 1000
    often = torch.bincount(taken, minlength=1000)
    for kind in range(3):
        each = often[y == kind]
        assert int(each.sum()) == pytest.approx(expected[kind], rel=0.02, abs=3)
        assert int(each.max() - each.min()) <= 1
    assert torch.equal(taken, balanced(y, balance, torch.Generator().manual_seed(0)))
    assert not torch.equal(taken, balanced(y, balance, torch.Generator().manual_seed(1)))


def test_uneven_classes_have_a_balanced_goal_and_are_drawn_more_evenly(tmp_path):
    task = Vision(data=str(make(tmp_path, train=200, val=100, test=100)))
    assert task.goals == {"balanced_error": "min", "error": "min"} and task.balance == 0.5
    assert task.flip and task.turn and task.shift == 0
    x, y = task.tensors("train")
    labels = torch.cat([batch[1] for batch in task.epoch(x, y, torch.Generator().manual_seed(0))])
    assert len(labels) == len(y) and (labels == 2).sum() > 2 * (y == 2).sum()
    seen = torch.cat([batch[1] for batch in task.epoch(x, y, torch.Generator().manual_seed(0), augment=False)])
    assert torch.equal(seen.bincount(), y.bincount())
    assert Vision(data=str(tmp_path), balance=0.0, turn="no", shift=0.1).balance == 0


def test_even_classes_are_left_as_they_are():
    digits = Vision()
    assert digits.goals == {"error": "min"} and not digits.balance and not digits.turn and digits.shift == 0


@pytest.mark.parametrize(("flip", "number"), [("yes", 8), ("no", 4)])
def test_augmentation_gives_all_eight_symmetries_or_four_turns_and_nothing_else(flip, number, tmp_path):
    task = Vision(data=str(make(tmp_path, train=60, val=40, test=40)), size=12, flip=flip)
    x = task.normal(task.parts["train"][0][:1]).repeat(400, 1, 1, 1)
    x += torch.arange(144.0).view(12, 12)                    # so that no two symmetries look the same
    turned = {image.numpy().tobytes() for image in task.augment(x, torch.Generator().manual_seed(0)).contiguous()}
    one = x[0]
    legal = {each.contiguous().numpy().tobytes() for k in range(4) for each in (
        one.rot90(k, (1, 2)), *[one.flip(2).rot90(k, (1, 2))] * (flip == "yes"))}
    assert turned == legal and len(legal) == number


@pytest.mark.parametrize("wrong", [{"balance": 1.5}, {"balance": -1.0}, {"turn": "maybe"}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(UsageError, match="balance a number from 0 to 1"):
        Vision(**wrong)


def test_what_is_not_square_cannot_be_turned(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.zeros((40, 6, 5), np.uint8), y_train=np.arange(40) % 2)
    with pytest.raises(UsageError, match="6x5 pixels cannot be turned"):
        Vision(data=str(tmp_path / "a.npz"), turn="yes")


# --- what is shown


def test_the_table_of_classes_counts_by_hand():
    counts = np.array([[8, 2, 0], [0, 0, 0], [1, 0, 3]])
    rows = by_class(counts, "abc", np.array([5, 6, 7]))
    assert [row[0:4] for row in rows] == [["a", 5, 10, 0.8], ["b", 6, 0, ""], ["c", 7, 4, 0.75]]
    assert [row[6] for row in rows] == [8 / 9, 0.0, 1.0]
    assert [row[7] for row in rows] == pytest.approx([16 / 19, 0, 6 / 7])
    axis = picture(counts, "abc").axes[0]
    assert sorted(text.get_text() for text in axis.texts) == ["1", "2", "3", "8"]
    assert "11 of 14" in axis.get_title(loc="left")


def rows_of(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A task and a network that has learned its patterns."""
    folder = make(tmp_path_factory.mktemp("maps"), train=200, val=60, test=100)
    task = Vision(data=str(folder), size=16)
    rng = random.Random(0)
    seed_torch(rng)
    space = Space(nn.Sequential(nn.ConvNormAct(8, 3, 2), nn.ConvNormAct(16, 3, 2), nn.Classifier(3)))
    model = build(space, {}, task.example())
    curve = task.fit(model, Budget(epochs=25), rng)
    assert {"validation_balanced_error", "validation_macro_f1"} <= set(curve[0])
    return task, model.eval(), folder


def test_a_network_shows_which_classes_it_takes_for_which(trained):
    task, model, _ = trained
    shown = {each.file: each for each in task.exhibits(model)}
    assert list(shown) == ["confusion.svg", "classes.csv", "confusion.csv"]
    counts = np.array([[int(row[name]) for name in NAMES] for row in rows_of(shown["confusion.csv"].content)])
    found = task.score(model, "test")
    assert {key: found[key] for key in ("error", "balanced_error", "macro_f1")} == pytest.approx(scores(counts))
    assert counts.sum() == 100 and found["balanced_error"] < 0.2
    rows = rows_of(shown["classes.csv"].content)
    assert 1 - np.mean([float(row["recall"]) for row in rows]) == pytest.approx(found["balanced_error"])
    assert [int(row["images_to_learn_from"]) for row in rows] == [52, 195, 13]
    assert shown["confusion.svg"].content.startswith(b"<svg")


def test_baselines_have_every_score_on_both_parts(trained):
    found = trained[0].baseline()
    assert set(found) == {"the commonest class", "naive Bayes", "linear"}
    assert found["the commonest class"]["test_balanced_error"] == pytest.approx(2 / 3)
    names = {f"{part}{name}" for part in ("", "test_") for name in ("error", "balanced_error", "macro_f1")}
    assert all(set(each) == names for each in found.values())


def test_predictions_of_new_maps_are_those_of_the_test(trained, tmp_path):
    """From an .npz, and from a matrix as CSV by two networks; what they say is what the test counted."""
    task, model, folder = trained
    about = json.loads(json.dumps(task.preprocessing()))
    (table,) = Vision.predict([model], about, str(folder / "test.npz"))
    rows, data = rows_of(table.content), np.load(folder / "test.npz")
    said = np.array([NAMES.index(row["class"]) for row in rows])
    truth = np.array([NAMES.index(label) for label in data["failureType"]])
    assert np.array_equal(confusion(truth, said, 3), task.confusion(task.logits(model, "test"), "test"))
    assert all(float(row["probability"]) == max(float(row[f"p({name})"]) for name in NAMES) for row in rows)
    assert all(sum(float(row[f"p({name})"]) for name in NAMES) == pytest.approx(1) for row in rows)
    down, across = data["shape"][1]
    first = data["flat"][data["shape"][0].prod():][:down * across].reshape(down, across)
    np.savetxt(tmp_path / "new.csv", first, fmt="%d", delimiter=",")
    (table,) = Vision.predict([model, model], about, str(tmp_path))
    alone = rows_of(table.content)
    assert len(alone) == 1 and float(alone[0]["probability"]) == pytest.approx(float(rows[1]["probability"]), rel=1e-5)
    (tmp_path / "plain.csv").write_text("1,1,1\n1,0,1\n1,1,1\n")
    with pytest.raises(UsageError, match="--codes pass"):
        Vision.predict([model], about, str(tmp_path / "plain.csv"))
    passing, failing = (rows_of(Vision.predict([model], about, str(tmp_path / "plain.csv"), codes=codes)[0].content)
                        for codes in ("pass", "fail"))
    assert passing[0]["map"] == failing[0]["map"] == "plain.csv" and passing != failing
    with pytest.raises(UsageError, match="has no wafer maps"):
        (tmp_path / "none").mkdir()
        Vision.predict([model], about, str(tmp_path / "none"))


@pytest.mark.slow
def test_from_a_folder_of_maps_to_predictions_on_the_command_line(archfab, tmp_path):
    make(tmp_path, train=200, val=60, test=100)
    found = archfab("search", "vision", "--data", ".", "--size", 16, "--space", "cell", "--channels", 4, "--trials", 2,
                    "--strategy", "random", "--deliver", 1, "--full-epochs", 4, "--run", "one", "--json")
    assert "failed" in found.json and found.json["front"][0]["test_balanced_error"] < 0.7
    assert {"balanced_error", "error", "macro_f1"} <= set(found.json["front"][0])
    assert "the commonest class" in found.json["baseline"]
    bundle = tmp_path / found.json["front"][0]["bundle"]
    said = archfab("predict", bundle, "--data", "test.npz", "--out", "said", "--json").json
    assert [each["file"] for each in said["files"]] == ["predictions.csv"]
    assert len((tmp_path / "said" / "predictions.csv").read_text().splitlines()) == 101
    assert "confusion.svg" in (tmp_path / "runs" / "one" / "report.html").read_text()


# --- predictions of images


class Brightness(torch.nn.Module):
    """Says how bright an image is."""

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        return torch.stack([-mean, mean], 1)


ABOUT = {"scale": 1 / 255, "mean": [0.5], "std": [0.1], "classes": ["dark", "bright"], "kind": "images",
         "size": [1, 6, 8]}
DARK, BRIGHT = np.full((6, 8), 20, np.uint8), np.full((12, 16), 240, np.uint8)


def png_of(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="png")
    return stream.getvalue()


def said_of(path, about=ABOUT, models=1):
    (table,) = Vision.predict([Brightness()] * models, about, str(path))
    return [(row["image"], row["class"]) for row in rows_of(table.content)]


def test_images_of_any_source_are_classified_by_name(tmp_path):
    files = {"b.png": png_of(BRIGHT), "in/a.png": png_of(DARK)}
    for name, content in files.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    expected = [("b.png", "bright"), ("in/a.png", "dark")]
    assert said_of(tmp_path / "set") == said_of(tmp_path / "set.zip", models=2) == expected
    assert said_of(tmp_path / "set" / "b.png") == [("b.png", "bright")]
    np.savez(tmp_path / "x.npz", anything=np.stack([DARK, 255 - DARK]))
    assert said_of(tmp_path / "x.npz") == [("0", "dark"), ("1", "bright")]


@pytest.mark.parametrize(("files", "about", "said"), [
    ({"notes.txt": b"1"}, {}, "no images; legal are"),
    ({"a.png": b"no picture"}, {}, "a.png"),
    ({"a.png": png_of(DARK)}, {"size": [4, 6, 8]}, "4 channels"),
    ({"a.png": png_of(DARK)}, {"size": None}, "deliver the network again")])
def test_wrong_images_say_what_is_wrong(files, about, said, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    about = {key: value for key, value in {**ABOUT, **about}.items() if value is not None}
    with pytest.raises(UsageError, match=said):
        said_of(tmp_path, about)


def test_codes_are_of_wafer_maps():
    with pytest.raises(UsageError, match="leave --codes out"):
        Vision.predict([Brightness()], ABOUT, "a.png", codes="pass")


def test_arrays_of_other_channels_or_names_are_refused(tmp_path):
    np.savez(tmp_path / "colour.npz", x=np.zeros((2, 6, 8, 3), np.uint8))
    np.savez(tmp_path / "two.npz", a=DARK[None], b=DARK[None])
    for name, said in (("colour", "3 channels, and the network takes 1"), ("two", "call the one of images x")):
        with pytest.raises(UsageError, match=said):
            said_of(tmp_path / f"{name}.npz")
