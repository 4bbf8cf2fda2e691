"""e3nn: equivariant functions, by spherical harmonics and tensor products with rules of their own."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.peers.rows import Row, check, parametrize

e3nn = pytest.importorskip("e3nn_jax")

rng = np.random.default_rng(13)
ATOMS = rng.standard_normal((4, 3))
WEIGHTS = rng.standard_normal(7)


def weighted(y):
    return jnp.mean(jnp.sin(y) * jnp.linspace(0.5, 1.5, y.size).reshape(y.shape))


def harmonics(**how):
    return lambda x: weighted(e3nn.spherical_harmonics("0e + 1o + 2e + 3o", x, True, **how).array)


def product(x):
    y = e3nn.spherical_harmonics("1o + 2e", x, True)
    return weighted(e3nn.tensor_product(y, y[::-1], filter_ir_out="0e + 1o + 2e").array)


def of_gates(x):
    features = e3nn.IrrepsArray("2x0e + 1x0e + 1o", x)
    return weighted(e3nn.gate(features).array) + weighted(
        e3nn.norm_activation(features, [jnp.sin, None, None]).array
    )


def rotation(p):
    d = e3nn.Irreps("1o + 2e").D_from_angles(p["a"], p["b"], p["c"])
    return weighted(d) + weighted(e3nn.angles_to_matrix(p["a"], p["b"], p["c"]))


def message(p):
    """The energy of some atoms by one message from each to each, weighted by radial functions."""
    sender, receiver = (jnp.asarray(i) for i in np.nonzero(~np.eye(4, dtype=bool)))
    edges = p["x"][sender] - p["x"][receiver]
    radial = e3nn.bessel(jnp.linalg.norm(edges, axis=-1), 7, 4.0) @ p["w"]
    y = e3nn.spherical_harmonics("0e + 1o", edges, True).array * radial[:, None]
    total = e3nn.scatter_sum(e3nn.IrrepsArray("0e + 1o", y), dst=receiver, output_size=4)
    return jnp.sum(e3nn.norm(total, squared=True).array)


ROWS = [
    Row("spherical harmonics", harmonics(), ATOMS),
    Row(
        "spherical harmonics, by recursion", harmonics(algorithm=("recursive", "sparse", "custom_jvp")), ATOMS
    ),
    Row("tensor product", product, ATOMS, second=True),
    Row("gates", of_gates, np.array([0.3, -0.2, 0.5, 0.1, 0.4, -0.6]), turns=6),
    Row("rotations", rotation, {"a": np.array(0.3), "b": np.array(0.8), "c": np.array(-0.4)}, turns=6),
    Row("messages", message, {"x": ATOMS, "w": WEIGHTS}),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)
