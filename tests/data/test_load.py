"""load: the specification strings, and which examples are held out."""

import itertools
import re

import numpy as np
import pytest
from sklearn.datasets import load_digits

from funcnet import data
from funcnet._errors import DataError, ParameterError
from funcnet.data import scikit
from funcnet.data.dataset import relabelled
from funcnet.data.load import SOURCES

UNKNOWN = ["", "mnist", "digits:", "digits:8", "idx", "idx:", "spiral:", "spiral:3", "Digits", ":", "npz"]


@pytest.mark.parametrize("spec", UNKNOWN)
def test_an_unknown_specification_lists_what_there_is(spec):
    known = re.escape(f"expected one of {', '.join(SOURCES)}.")
    with pytest.raises(DataError, match=f"unknown data set {spec!r}; {known}"):
        data.load(spec)
    assert [usage for usage in SOURCES if f"`{usage}`" not in " ".join(data.load.__doc__.split())] == []


EACH = {  # of every source what to load, how many examples its parts have, features and classes
    "digits": ("digits", (1293, 144, 360), 64, 10),
    "idx:DIR": ("idx:digits", (54, 6, 20), 6, 10),
    "cifar10:PATH": ("cifar10:cifar", (45, 5, 10), 3072, 10),
    "csv:FILE": ("csv:some.csv", (72, 8, 20), 5, 4),
    "npz:FILE": ("npz:some.npz", (72, 8, 20), 5, 4),
    "openml:NAME": ("openml:mnist_784", (36, 4, 20), 784, 10),
    "ring": ("ring", (200, 200, 200), 2, 2),
    "spiral": ("spiral", (300, 300, 300), 2, 3),
    "spiral:2": ("spiral:2", (200, 200, 200), 2, 2),
    "circle": ("circle", (100, 100, 100), 2, 2),
    "moons": ("moons", (200, 200, 200), 2, 2),
    "simple": ("simple", (13, 13, 13), 2, 2),
    "random": ("random", (40, 40, 40), 2, 2),
}


@pytest.fixture
def sources(tmp_path, images, write_mnist, monkeypatch):
    """Small data for every source, in the current folder; and no network for OpenML."""
    write_mnist(images)
    rng = np.random.default_rng(3)
    np.savez(tmp_path / "some.npz", x=rng.normal(size=(100, 5)), y=np.arange(100) % 4)
    lines = [f"{i % 4},{','.join(map(str, row))}" for i, row in enumerate(rng.normal(size=(100, 5)))]
    (tmp_path / "some.csv").write_text("\n".join(["label,a,b,c,d,e", *lines]))
    (tmp_path / "cifar").mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        records = rng.integers(0, 256, (10, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(10)
        (tmp_path / f"cifar/{name}.bin").write_bytes(records.tobytes())
    rows = rng.integers(0, 256, (60, 784)).astype(float), (np.arange(60) % 10).astype(str)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **_: rows)
    monkeypatch.setattr(
        scikit, "_OPENML", {name: row._replace(train=40) for name, row in scikit._OPENML.items()}
    )
    monkeypatch.chdir(tmp_path)


def test_every_source_is_loaded():
    assert set(EACH) == set(SOURCES)


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize("usage", SOURCES)
def test_a_source_is_float32_with_labels_in_three_parts_that_its_seed_decides(usage):
    spec, sizes, features, classes = EACH[usage]
    dataset, again, other = (data.load(spec, seed=seed) for seed in (5, 5, 6))
    parts = dataset.train, dataset.validation, dataset.test
    assert dataset.name == spec
    assert tuple(len(part.y) for part in parts) == sizes
    assert len(dataset.classes) == len(set(dataset.classes)) == classes
    for part, same in zip(parts, (again.train, again.validation, again.test), strict=True):
        assert (part.x.shape, part.x.dtype) == ((len(part.y), features), np.float32)
        assert (part.y.ndim, part.y.dtype) == (1, np.int32)
        assert np.isfinite(part.x).all()
        np.testing.assert_array_equal(part.x, same.x)
        np.testing.assert_array_equal(part.y, same.y)
    assert set(dataset.train.y.tolist()) == set(range(classes))
    if usage != "simple":  # its three parts are the same 13 points under every seed
        assert not np.array_equal(dataset.train.x, other.train.x)
        examples = [{bytes(x) for x in part.x if x.any()} for part in parts]  # every spiral starts at 0
        assert all(one.isdisjoint(another) for one, another in itertools.combinations(examples, 2))


def test_negative_seed():
    with pytest.raises(ParameterError, match="seed -1: expected an integer ≥ 0"):
        data.load("digits", seed=-1)


def test_digits_are_the_published_ones():
    published = load_digits()
    digits = data.load("digits")
    parts = (digits.train, digits.validation, digits.test)
    assert [len(part.y) for part in parts] == [1293, 144, 360]
    assert digits.classes == tuple("0123456789")
    assert digits.image_shape == (8, 8)
    rows = np.concatenate([np.column_stack([part.x * 16, part.y]) for part in parts])
    np.testing.assert_array_equal(
        sorted(rows.tolist()), sorted(np.column_stack([published.data, published.target]).tolist())
    )


@pytest.fixture
def numbered(tmp_path):
    """An .npz of 1000 examples x[i] = i of three classes, of which one is rare."""
    y = np.where(np.arange(1000) % 20 == 0, 2, np.arange(1000) % 2)
    np.savez(tmp_path / "numbered.npz", x=np.arange(1000.0)[:, None], y=y)
    return f"npz:{tmp_path / 'numbered.npz'}"


def test_parts_are_disjoint_and_complete(numbered):
    parts = data.load(numbered)
    ids = [part.x[:, 0].astype(int).tolist() for part in (parts.train, parts.validation, parts.test)]
    assert [len(part) for part in ids] == [720, 80, 200]
    assert sorted([*ids[0], *ids[1], *ids[2]]) == list(range(1000))


def test_every_class_gives_its_share(numbered):
    parts = data.load(numbered)
    assert np.bincount(parts.test.y).tolist() == pytest.approx([90, 100, 10], abs=1)
    assert np.bincount(parts.validation.y).tolist() == pytest.approx([36, 40, 4], abs=1)


def test_the_seed_decides_what_is_held_out(numbered):
    first, again, other = (data.load(numbered, seed=seed) for seed in (5, 5, 6))
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(first, part).x, getattr(again, part).x)
        assert not np.array_equal(getattr(first, part).x, getattr(other, part).x)


def test_held_out_examples_are_a_random_choice(numbered):
    """Over 40 seeds every one of 950 frequent examples is in some test part, none in all."""
    counts = sum(np.isin(np.arange(1000), data.load(numbered, seed=seed).test.x) for seed in range(40))
    assert counts.min() > 0
    assert counts.max() < 25  # binomial(40, 0.2): mean 8, standard deviation 2.5


def test_labels_are_numbered_anew_by_the_names_of_their_classes(tmp_path):
    x, y = np.arange(30.0)[:, None], np.arange(30) % 3
    letters = np.array(["a", "b", "c"])
    np.savez(tmp_path / "abc.npz", x_train=x, y_train=letters[y], x_test=x, y_test=letters[-y])
    np.savez(tmp_path / "123.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words, numbers = (data.load(f"npz:{tmp_path / name}.npz") for name in ("abc", "123"))
    larger = relabelled(words, ("c", "x", "b", "a"))
    assert larger.classes == ("c", "x", "b", "a")
    assert larger.test.y[:3].tolist() == [3, 0, 2]
    for other, classes in ((words, numbers.classes), (numbers, words.classes)):  # nothing alike: by number
        assert relabelled(other, classes).test.y.tolist() == other.test.y.tolist()
    with pytest.raises(DataError, match=r"abc\.npz: 3 classes, of which b is none of the 3 that the"):
        relabelled(words, ("a", "c", "d"))


def test_public_names():
    functions = ["load", "read_idx", "standardize"]
    modules = ["features", "procedural", "toy"]
    assert data.__all__ == sorted(["Dataset", "Split", "Standardization", *functions, *modules])
