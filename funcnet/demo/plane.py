"""Points in the plane: the demo's data sets, and what of a point a net is given.

The plane reaches from −6 to 6 in both directions. The sets are those of `funcnet.data.toy`, the smaller ones
enlarged to fill it, and two more:

    gauss    as many round clouds as there are classes, at even angles
    xor      class 1 where x and y have the same sign

There is room for CAPACITY points, so that a program that is compiled once serves all sets and all edits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from funcnet.data import toy
from funcnet.data.dataset import Split

EXTENT = 6.0
CAPACITY = 400
POINTS_OF_A_CLOUD = 60


class Points(NamedTuple):
    """Points with their labels, on the host or traced.

    Attributes:
        x: [capacity, 2].
        y: [capacity], integers.
        train: [capacity], whether there is a point that is trained on.
        filled: how many places hold a point, the first ones.
    """

    x: Any
    y: Any
    train: Any
    filled: Any


def gauss(rng: np.random.Generator, classes: int) -> Split:
    """A normal cloud of 60 points for each class, around places at even angles.

    >>> gauss(np.random.default_rng(0), 3).x.shape
    (180, 2)
    """
    y = np.repeat(np.arange(classes), POINTS_OF_A_CLOUD)
    t = 2 * np.pi * y / classes + np.pi / 4
    x = 3 * np.stack([np.cos(t), np.sin(t)], axis=1) + 0.9 * rng.standard_normal((len(y), 2))
    return Split(x.astype(np.float32), y.astype(np.int32))


def xor(rng: np.random.Generator, classes: int) -> Split:
    """200 points of a square, 0.3 and more from its axes; class 1 where x and y have the same sign.

    >>> x, y = xor(np.random.default_rng(0), 2)
    >>> bool(((x[:, 0] * x[:, 1] > 0) == y).all())
    True
    """
    x = rng.uniform(-5, 5, (200, 2))
    x += np.copysign(0.3, x)
    return Split(x.astype(np.float32), (x[:, 0] * x[:, 1] > 0).astype(np.int32))


def enlarged(draw: Callable, factor: float = 1.0, centre: tuple[float, float] = (0.0, 0.0)) -> Callable:
    """A set of `funcnet.data.toy` around the middle of the plane, and larger."""

    def drawn(rng: np.random.Generator, classes: int) -> Split:
        x, y = draw(rng)
        return Split((x - np.array(centre, np.float32)) * np.float32(factor), y)

    return drawn


SETS: dict[str, Callable[[np.random.Generator, int], Split]] = {
    "simple": enlarged(toy.simple),
    "circle": enlarged(toy.circle),
    "moons": enlarged(toy.moons, 3.0, (0.5, 0.25)),
    "spiral": enlarged(toy.two_arm_spiral),
    "spiral3": enlarged(toy.spiral, 5.0),
    "xor": xor,
    "gauss": gauss,
    "ring": enlarged(toy.ring, 1.7),
    "random": enlarged(toy.random, 1.6),
}

INPUTS: dict[str, Callable[[Array, Array], Array]] = {
    "x": lambda x, y: x,
    "y": lambda x, y: y,
    "xx": lambda x, y: x * x / 5,
    "yy": lambda x, y: y * y / 5,
    "xy": lambda x, y: x * y / 5,
    "sinx": lambda x, y: jnp.sin(x),
    "siny": lambda x, y: jnp.sin(y),
    "r": lambda x, y: jnp.sqrt(x * x + y * y),
    "theta": lambda x, y: jnp.arctan2(y, x),
}
"""What of a point a net is given; squares are divided so that they are about as large as x and y."""


def own_classes(name: str) -> int:
    """How many classes a set has that does not have as many as one likes."""
    return 3 if name == "spiral3" else 2


def inputs(names: tuple[str, ...], x: Float[Array, "*batch 2"]) -> Float[Array, "*batch inputs"]:
    """What a net is given for points.

    >>> inputs(("x", "xy"), jnp.array([2.0, 5.0])).tolist()
    [2.0, 2.0]
    """
    return jnp.stack([INPUTS[name](x[..., 0], x[..., 1]) for name in names], axis=-1)


def drawn(name: str, *, noise: int, test: int, classes: int, seed: int) -> Points:
    """A set with noise in it, some of which is kept for the test; see `Settings` for the units.

    >>> drawn("simple", noise=0, test=30, classes=2, seed=0).filled
    13
    """
    data, moves, held = (np.random.default_rng((seed, i)) for i in range(3))
    x, y = SETS[name](data, classes)
    x = np.clip(x + 0.02 * noise * moves.standard_normal(x.shape), -EXTENT, EXTENT)
    train = np.ones(len(x), bool)
    train[held.permutation(len(x))[: round(len(x) * test / 100)]] = False
    return points(x, y, train)


def points(
    x: Float[np.ndarray, "count 2"], y: Int[np.ndarray, " count"], train: Bool[np.ndarray, " count"]
) -> Points:
    """Points, and room for more."""
    room = CAPACITY - len(x)
    places = np.pad(x, ((0, room), (0, 0))).astype(np.float32)
    return Points(places, np.pad(y, (0, room)).astype(np.int32), np.pad(train, (0, room)), len(x))
