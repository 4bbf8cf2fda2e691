"""load: the specification strings, and which examples are held out."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from funcnet import data
from funcnet._errors import DataError, ParameterError

UNKNOWN = ["", "mnist", "digits:", "digits:8", "idx", "idx:", "spiral:", "spiral:3", "Digits", ":", "npz"]


@pytest.mark.parametrize("spec", UNKNOWN)
def test_an_unknown_specification_lists_what_there_is(spec):
    with pytest.raises(
        DataError, match=r"unknown data set .*digits, idx:DIR, cifar10:PATH, npz:FILE, openml:NAME, ring"
    ):
        data.load(spec)


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


def test_public_names():
    names = ["Dataset", "Split", "Standardization", "features", "load", "read_idx", "standardize", "toy"]
    assert data.__all__ == names
    assert all(getattr(data, name).__doc__ for name in data.__all__)
