"""The two-dimensional sets: the sizes, radii and angles that their sources give."""

import numpy as np
import pytest
from sklearn.datasets import make_moons

from funcnet import data
from funcnet.data import toy

COUNTS = {
    "ring": [100, 100],
    "spiral": [100, 100, 100],
    "spiral:2": [100, 100],
    "circle": [50, 50],
    "moons": [100, 100],
    "simple": [5, 8],
}


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def radius_and_angle(x):
    """Of points (r sin t, r cos t)."""
    return np.hypot(x[:, 0], x[:, 1]), np.arctan2(x[:, 0], x[:, 1])


def turn(difference):
    """An angle in (−π, π]."""
    return np.angle(np.exp(1j * difference))


@pytest.mark.parametrize(("spec", "counts"), COUNTS.items())
def test_each_part_has_the_published_size(spec, counts):
    dataset = data.load(spec)
    for x, y in (dataset.train, dataset.validation, dataset.test):
        assert np.bincount(y).tolist() == counts
        assert x.shape == (len(y), 2)
    assert dataset.classes == tuple(str(k) for k in range(len(counts)))
    assert dataset.image_shape is None


@pytest.mark.parametrize("spec", [*(name for name in COUNTS if name != "simple"), "random"])
def test_parts_are_three_draws_fixed_by_the_seed(spec):
    first, again, other = (data.load(spec, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train.x, again.train.x)
    draws = (first.train, first.validation, first.test, other.train)
    assert len({draw.x.tobytes() for draw in draws}) == 4


def test_ring_is_separated_by_its_radius(rng):
    x, y = toy.ring(rng)
    r, _ = radius_and_angle(x)
    assert r[y == 0].max() <= 1
    assert 2 <= r[y == 1].min() < r[y == 1].max() <= 3
    assert np.abs(x[y == 1].mean(axis=0)).max() < 0.5  # all the way round: no line separates the two


def test_spiral_is_the_case_studys(rng):
    x, y = toy.spiral(rng)
    r, t = radius_and_angle(x)
    for arm in range(3):
        np.testing.assert_allclose(r[y == arm], np.linspace(0, 1, 100), atol=1e-6)
    t_of_arm = np.concatenate([np.linspace(0, 4, 100), np.linspace(4, 8, 100), np.linspace(8, 12, 100)])
    noise = turn(t - t_of_arm)[r > 0]
    assert 0.18 < noise.std() < 0.22  # 0.2 ± 0.008
    assert abs(noise.mean()) < 0.04


def test_two_arm_spiral_is_convnetjs(rng):
    x, y = toy.two_arm_spiral(rng)
    r, t = radius_and_angle(x)
    i = np.arange(100) / 100
    for label, start in [(1, 0), (0, np.pi)]:
        assert np.abs(r[y == label] - 5 * i).max() <= 0.1 + 1e-6
        noise = turn(t[y == label] - (2.5 * np.pi * i + start))[5:]  # nearer the centre r may be negative
        assert 0.05 < np.abs(noise).max() <= 0.1 + 1e-5


def test_circle_is_convnetjs(rng):
    x, y = toy.circle(rng)
    r, t = radius_and_angle(x)
    assert r[y == 1].max() < 2
    assert 3 < r[y == 0].min() < r[y == 0].max() < 5
    np.testing.assert_allclose(turn(t[y == 0] - 2 * np.pi * np.arange(50) / 50), 0, atol=1e-6)


def test_moons_are_scikit_learns(rng):
    x, y = toy.moons(rng)
    without_noise, labels = make_moons(200, shuffle=False)
    noise = x - without_noise
    np.testing.assert_array_equal(y, labels)
    assert 0.09 < noise.std() < 0.11  # 0.1 ± 0.0035
    assert np.abs(noise.mean(axis=0)).max() < 0.03


def test_simple_is_convnetjs(rng):
    """The sums of the published coordinates, class by class."""
    x, y = toy.simple(rng)
    np.testing.assert_allclose(x[y == 1].sum(axis=0), [4.1339, 9.8552], rtol=1e-6)
    np.testing.assert_allclose(x[y == 0].sum(axis=0), [11.9976, 3.1121], rtol=1e-6)
    dataset = data.load("simple")
    assert dataset.train.x.tolist() == dataset.validation.x.tolist() == dataset.test.x.tolist() == x.tolist()


def test_random_is_convnetjs(rng):
    x, y = toy.random(rng)
    assert x.shape == (40, 2)
    assert 2.5 < np.abs(x).max() <= 3
    assert set(y.tolist()) == {0, 1}
