"""The functions that more than one file checks."""

import jax.numpy as jnp
import numpy as np

from tests.check.rows import array, custom

X = array(0.5, -1.25, 2.0, 3.5)
ROWS = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)), "float32")
SQUARE_MATRIX = jnp.asarray([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75], [-0.4, 0.8, 1.2]])
TALL = jnp.asarray([[0.5, -1.0], [1.5, 0.25], [-0.4, 0.8]])


def cube(x):
    return x**3


def cube_times(factor):
    return custom(cube, lambda args, y_bar: (factor * 3 * args[0] ** 2 * y_bar,))


def layer(params, x):
    return jnp.tanh(x @ params["w"]) + params["b"]


def layer_gradient(args, y_bar):
    params, x = args
    inner = y_bar * (1 - jnp.tanh(x @ params["w"]) ** 2)
    return {"w": x.T @ inner, "b": y_bar.sum(0)}, inner @ params["w"].T


LAYER = ({"w": 0.3 * SQUARE_MATRIX, "b": array(0.1, 0.2, 0.3)}, SQUARE_MATRIX[::-1] + 0.3)


def product(a, b):
    return a * b


def energy(z):
    return z * z


sine = custom(jnp.sin, lambda args, y_bar: (y_bar * jnp.cos(args[0]),))

FAST = {"transforms": ()}


def squares_in_float32(x):
    """As a loss that adds up in float32, whatever comes."""
    return (x.astype("float32") ** 2).sum()


def squares_times(factor):
    def backward(args, y_bar):
        (x,) = args
        return ((factor * 2 * x.astype("float32") * y_bar).astype(x.dtype),)

    return custom(squares_in_float32, backward)
