"""Two-dimensional data sets: a classifier's decision regions can be drawn.

Each function draws a fresh set of the published size; points are (r sin t, r cos t) with radius r and
angle t. `ring` and `circle` are linearly separable in polar coordinates; for the spirals no such
coordinates are at hand, and that is what hidden layers are for.

    ring                                      CS231n 2019, lecture 4, slide 10
    spiral                                    CS231n course notes, "Minimal neural network case study"
    two_arm_spiral, circle, simple, random    A. Karpathy, ConvNetJS, demo "Classify toy 2D data"
    moons                                     scikit-learn, `make_moons`
"""

import numpy as np
from jaxtyping import Float, Int

from funcnet.data.dataset import Split


def ring(rng: np.random.Generator) -> Split:
    """A disc of radius 1 (100 points, class 0) inside a ring of radius 2 to 3 (100 points, class 1).

    Source: after the picture on CS231n 2019, lecture 4, slide 10; the radii are ours.

    >>> x, y = ring(np.random.default_rng(0))
    >>> bool(((np.hypot(*x.T) > 1.5) == y).all())  # one threshold on the radius separates them
    True
    """
    r = np.concatenate([np.sqrt(rng.uniform(0, 1, 100)), rng.uniform(2, 3, 100)])
    t = rng.uniform(0, 2 * np.pi, 200)
    return _split(_polar(r, t), np.repeat([0, 1], 100))


def spiral(rng: np.random.Generator) -> Split:
    """Three arms of 100 points: r from 0 to 1, t from 4j to 4(j + 1) + 0.2 · normal noise in arm j.

    Source: CS231n course notes, "Minimal neural network case study".

    >>> x, y = spiral(np.random.default_rng(0))
    >>> x.shape, np.bincount(y).tolist()
    ((300, 2), [100, 100, 100])
    """
    r = np.tile(np.linspace(0, 1, 100), 3)
    t = np.concatenate([np.linspace(4 * arm, 4 * (arm + 1), 100) for arm in range(3)])
    return _split(_polar(r, t + 0.2 * rng.standard_normal(300)), np.repeat([0, 1, 2], 100))


def two_arm_spiral(rng: np.random.Generator) -> Split:
    """Two arms of 100 points: r = 5i/100 ± 0.1, t = 1.25 · 2πi/100 ± 0.1, the second turned by π.

    Source: ConvNetJS, demo "Classify toy 2D data", `spiral_data`; as there the first arm is class 1.

    >>> two_arm_spiral(np.random.default_rng(0)).x.shape
    (200, 2)
    """
    i = np.tile(np.arange(100) / 100, 2)
    r = 5 * i + rng.uniform(-0.1, 0.1, 200)
    t = 1.25 * 2 * np.pi * i + np.repeat([0, np.pi], 100) + rng.uniform(-0.1, 0.1, 200)
    return _split(_polar(r, t), np.repeat([1, 0], 100))


def circle(rng: np.random.Generator) -> Split:
    """50 points of radius 0 to 2 (class 1) within 50 of radius 3 to 5 at even angles (class 0).

    Source: ConvNetJS, demo "Classify toy 2D data", `circle_data`.

    >>> np.bincount(circle(np.random.default_rng(0)).y).tolist()
    [50, 50]
    """
    r = np.concatenate([rng.uniform(0, 2, 50), rng.uniform(3, 5, 50)])
    t = 2 * np.pi * np.concatenate([rng.uniform(0, 1, 50), np.arange(50) / 50])
    return _split(_polar(r, t), np.repeat([1, 0], 50))


def moons(rng: np.random.Generator) -> Split:
    """Two half circles of radius 1, 100 points each, the second turned by π and moved by (1, ½); noise 0.1.

    Source: scikit-learn, `sklearn.datasets.make_moons`.

    >>> np.bincount(moons(np.random.default_rng(0)).y).tolist()
    [100, 100]
    """
    t = np.linspace(0, np.pi, 100)
    upper = np.stack([np.cos(t), np.sin(t)], axis=1)
    x = np.concatenate([upper, [1, 0.5] - upper])
    return _split(x + 0.1 * rng.standard_normal(x.shape), np.repeat([0, 1], 100))


def random(rng: np.random.Generator) -> Split:
    """40 points anywhere in [−3, 3]², each with a label by the toss of a coin: only memory can fit them.

    Source: ConvNetJS, demo "Classify toy 2D data", `random_data`.

    >>> random(np.random.default_rng(0)).x.shape
    (40, 2)
    """
    return _split(rng.uniform(-3, 3, (40, 2)), rng.integers(0, 2, 40))


def simple(rng: np.random.Generator) -> Split:
    """The demo's 13 fixed points; nothing is drawn from `rng`, every call gives the same.

    Source: ConvNetJS, demo "Classify toy 2D data", `original_data`.

    >>> np.bincount(simple(np.random.default_rng(0)).y).tolist()
    [5, 8]
    """
    x = [
        (-0.4326, 1.1909), (3.0, 4.0), (0.1253, -0.0376), (0.2877, 0.3273), (-1.1465, 0.1746),
        (1.8133, 1.0139), (2.7258, 1.0668), (1.4117, 0.5593), (4.1832, 0.3044), (1.8636, 0.1677),
        (0.5, 3.2), (0.8, 3.2), (1.0, -2.2),
    ]  # fmt: skip
    return _split(np.array(x), np.repeat([1, 0, 1], [5, 5, 3]))


def _polar(r: Float[np.ndarray, "n"], t: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n 2"]:
    return np.stack([r * np.sin(t), r * np.cos(t)], axis=1)


def _split(x: Float[np.ndarray, "n 2"], y: Int[np.ndarray, "n"]) -> Split:
    return Split(x.astype(np.float32), y.astype(np.int32))
