"""Equal eigenvalues and singular values: a gradient through their vectors is refused, and a gate named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import VJPCheckError, check_vjp, nn

rng = np.random.default_rng(0)
C = rng.normal(size=(3, 3)).astype(np.float32)
LEFT, RIGHT = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))


def put_together(a):
    u, s, vt = jnp.linalg.svd(a)
    return jnp.sum(C * ((u * s) @ vt))


def exponential(a):
    w, v = jnp.linalg.eigh(a)
    return jnp.sum(C * ((v * jnp.exp(w)) @ v.T))


def matrix(spectrum, left, right):
    return jnp.asarray((left * np.array(spectrum)) @ right.T)


ONE = np.eye(3)
TIED = [
    ("svd, diagonal", put_together, (3.0, 1.0, 1.0), ONE, ONE, "singular values", "polar, low_rank"),
    ("svd, rotated", put_together, (3.0, 1.0, 1.0), LEFT, RIGHT, "singular values", "nuclear_norm"),
    ("eigh, diagonal", exponential, (1.0, 1.0, 3.0), ONE, ONE, "eigenvalues", "matrix_function (exp, log"),
    ("eigh, rotated", exponential, (2.0, 2.0, 2.0), LEFT, LEFT, "eigenvalues", "projector"),
    ("eigh, nearly equal", exponential, (1.0, 1 + 1e-12, 3.0), LEFT, LEFT, "eigenvalues", "projector"),
]


@pytest.mark.parametrize(("function", "spectrum", "left", "right", "values", "gate"), [r[1:] for r in TIED])
def test_the_vectors_of_equal_values_are_named(x64, function, spectrum, left, right, values, gate):
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(function, matrix(spectrum, left, right))
    message = str(caught.value)
    assert caught.value.verdict == "UNSTABLE", message
    for words in (f"through the vectors of equal {values}", "gate of funcnet.nn: ", gate, "reproduce "):
        assert words in message


def test_in_the_dtype_of_the_arguments():
    """What is equal in float32 is 1e-7 apart in float64, where the check begins."""
    with pytest.raises(VJPCheckError, match=r"UNSTABLE: put_together.*equal singular values"):
        check_vjp(put_together, matrix((3.0, 1.0, 1.0), LEFT, RIGHT))


RIGHT_ONES = [
    ("distinct values", exponential, (1.0, 2.0, 3.0)),
    ("values alone", lambda a: jnp.sum(jnp.linalg.eigvalsh(a) ** 2), (1.0, 1.0, 3.0)),
    ("the gate", lambda a: jnp.sum(C * nn.matrix_function(a)), (1.0, 1.0, 3.0)),
    ("the polar factor", lambda a: jnp.sum(C * nn.polar(a)), (1.0, 1.0, 3.0)),
]


@pytest.mark.parametrize(
    ("function", "spectrum"), [r[1:] for r in RIGHT_ONES], ids=[r[0] for r in RIGHT_ONES]
)
def test_what_is_right_is_accepted(x64, function, spectrum):
    check_vjp(function, matrix(spectrum, LEFT, LEFT))


def test_a_rule_that_is_wrong_at_equal_values_is_still_wrong(x64):
    @jax.custom_vjp
    def power(a):
        return exponential(a)

    power.defvjp(lambda a: (power(a), a), lambda a, y_bar: (y_bar * a,))
    with pytest.raises(VJPCheckError, match="WRONG: power"):
        check_vjp(power, matrix((1.0, 1.0, 3.0), LEFT, LEFT))
