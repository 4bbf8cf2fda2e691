"""Gradients of functions of a matrix where eigenvalues or singular values are equal, or nearly so.

The truth is the function's value in 60 digits, by mpmath's own eigenvectors, along a line: with the step
1e-14 central differences are the first and the second derivative to 28 digits.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg

import funcnet
from funcnet import nn
from funcnet._errors import ParameterError, ShapeError
from funcnet.nn._differences import FUNCTIONS

pytestmark = [pytest.mark.usefixtures("x64", "no_shape_checks"), pytest.mark.in_turns(3)]

H = mpmath.mpf(10) ** -14


def normal(shape, is_complex, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape) if is_complex else rng.normal(size=shape)


def unitary(n, is_complex, seed):
    return np.eye(n) if seed is None else np.linalg.qr(normal((n, n), is_complex, seed))[0]


def hermitian(spectrum, is_complex=False, seed=0):
    q = unitary(len(spectrum), is_complex, seed)
    a = (q * np.array(spectrum, float)) @ q.conj().T
    return (a + a.conj().T) / 2


def rectangular(spectrum, shape, is_complex=False, seed=0):
    u, v = (unitary(n, is_complex, None if seed is None else seed + n) for n in shape)
    return (u[:, : len(spectrum)] * np.array(spectrum, float)) @ v[:, : len(spectrum)].conj().T


def of_eigenvalues(values, a):
    w, v = mpmath.mp.eighe((a + a.H) / 2)
    return v * mpmath.diag(values(list(w))) * v.H


def of_singular_values(values, a):
    u, s, v = mpmath.mp.svd_c(a)
    return u * mpmath.diag(values(list(s))) * v


def each(g):
    return lambda w: [g(x) for x in w]


def leading(rank):
    return lambda w: [int(i >= len(w) - rank) for i in range(len(w))]


class Case(NamedTuple):
    function: Callable
    truth: Callable
    matrix: Callable
    name: str


HERMITIAN = [(1, 1, 3), (2, 2, 2), (1, 1, 2, 2), (1, 1 + 1e-9, 3), (1, 1 + 1e-14, 1 + 3e-5)]
LEADING = [(1, 1, 3, 3), (1, 1 + 1e-9, 4, 4), (-1, -1, 2, 2 + 1e-13)]
ANY = [(2, 1, 1), (2, 2, 2), (2, 1 + 1e-9, 1), (3, 1e-3, 1e-3)]
LOW = [(2, 2, 1, 1), (3, 3, 0, 0), (2, 2 - 1e-9, 1, 0)]
SHAPES = [(3, 3), (5, 3), (3, 4)]

CASES = [
    *(
        Case(
            functools.partial(nn.matrix_function, function=name),
            functools.partial(of_eigenvalues, each(g)),
            functools.partial(hermitian, spectrum),
            f"{name} {spectrum}",
        )
        for spectrum in HERMITIAN
        for name, g in (
            ("exp", mpmath.exp),
            ("log", mpmath.log),
            ("sqrt", mpmath.sqrt),
            ("rsqrt", lambda x: 1 / mpmath.sqrt(x)),
        )
    ),
    *(
        Case(
            functools.partial(nn.projector, rank=2),
            functools.partial(of_eigenvalues, leading(2)),
            functools.partial(hermitian, spectrum),
            f"projector {spectrum}",
        )
        for spectrum in LEADING
    ),
    *(
        Case(
            function,
            functools.partial(of_singular_values, each(g)),
            functools.partial(rectangular, spectrum, shape),
            f"{name} {shape} {spectrum}",
        )
        for spectrum in ANY
        for shape in SHAPES
        for name, function, g in (
            ("polar", nn.polar, lambda s: 1),
            ("U s Vᴴ", lambda a: nn.low_rank(a, rank=3), lambda s: s),
        )
    ),
    *(
        Case(
            functools.partial(nn.low_rank, rank=2),
            functools.partial(of_singular_values, lambda s: [*s[:2], 0, 0]),
            functools.partial(rectangular, spectrum, shape),
            f"low_rank {shape} {spectrum}",
        )
        for spectrum in LOW
        for shape in ((4, 4), (5, 4), (4, 5))
    ),
]


def along(case, a, c, d):
    """Value and two derivatives at t = 0 of x + x², x = Re Σ C · f(A + tD), in 60 digits."""
    with mpmath.workdps(60):
        a, c, d = (mpmath.matrix(x.tolist()) for x in (a, c, d))
        values = []
        for t in (-H, 0, H):
            y = case.truth(a + t * d)
            pairs = zip(c, y, strict=True)
            x = mpmath.re(mpmath.fsum(x * z for x, z in pairs))
            values.append(x + x**2)
        below, at, above = values
        derivatives = ((above - below) / (2 * H), (above - 2 * at + below) / H**2)
        return tuple(float(x) for x in (at, *derivatives))


def found(case, a, c, d, grad):
    """The same by gradients of the gate."""

    def loss(a):
        x = jnp.sum(c * case.function(a)).real
        return x + x**2

    def slope(a):
        return jnp.sum(d * grad(loss)(a)).real

    return jax.jit(lambda a: (loss(a), slope(a), jnp.sum(d * grad(slope)(a)).real))(a)


@pytest.mark.in_turns(6)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("seed", [0, None], ids=["rotated", "diagonal"])
def test_two_derivatives_at_equal_values(case, is_complex, seed):
    a = case.matrix(is_complex, seed).astype(complex if is_complex else float)
    c, d = (normal(a.shape, is_complex, seed) for seed in (5, 6))
    for grad in (funcnet.grad, jax.grad) if seed == 0 else (funcnet.grad,):
        for order, (one, truth) in enumerate(
            zip(found(case, a, c, d, grad), along(case, a, c, d), strict=True)
        ):
            size = abs(truth) + conditioned(case, order)
            assert abs(one - truth) <= 1e-12 * size, (order, float(one), truth)


def conditioned(case, order):
    """How large such derivatives are: the powers of 1 / gap, or 1 / s."""
    return 100 * (1e3 if "0.001" in case.name else 2) ** order


@pytest.mark.parametrize("spectrum", [(1, 1, 3), (2, 2, 2), (0.5, 1, 2)], ids=str)
def test_values_are_those_of_scipy(spectrum):
    a = hermitian(spectrum, True)
    root = scipy.linalg.sqrtm(a)
    for name, truth in (
        ("exp", scipy.linalg.expm(a)),
        ("log", scipy.linalg.logm(a)),
        ("sqrt", root),
        ("rsqrt", np.linalg.inv(root)),
    ):
        np.testing.assert_allclose(nn.matrix_function(a, function=name), truth, atol=1e-12)
    b = rectangular(spectrum, (5, 3), True)
    np.testing.assert_allclose(nn.polar(b), scipy.linalg.polar(b)[0], atol=1e-14)
    np.testing.assert_allclose(nn.nuclear_norm(b), np.linalg.norm(b, "nuc"), rtol=1e-14)
    e = normal((3, 3), True, 1)
    frechet = scipy.linalg.expm_frechet(a, e, compute_expm=False)
    np.testing.assert_allclose(nn.frechet(a, e), frechet, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_divided_differences_do_not_cancel(name):
    """Against the definition in 120 digits, at arguments from equal to far apart."""
    g = {
        "exp": mpmath.exp,
        "log": mpmath.log,
        "sqrt": mpmath.sqrt,
        "rsqrt": lambda x: 1 / mpmath.sqrt(x),
    }[name]
    rng = np.random.default_rng(0)
    base = rng.uniform(-20, 20, 200) if name == "exp" else 10.0 ** rng.uniform(-6, 6, 200)
    width = 10.0 ** rng.uniform(-17, 1, 200) * (1 if name == "exp" else base)
    points = base + width * rng.uniform(0, 1, (3, 200))
    two = np.asarray(FUNCTIONS[name].of_two(*map(jnp.asarray, points[:2])))
    three = np.asarray(FUNCTIONS[name].of_three(*map(jnp.asarray, points)))
    for i, (x, y, z) in enumerate(points.T.tolist()):
        with mpmath.workdps(120):
            x, y, z = (mpmath.mpf(p) + k * mpmath.mpf(10) ** -30 for k, p in enumerate((x, y, z)))
            of_xy, of_yz = (g(x) - g(y)) / (x - y), (g(y) - g(z)) / (y - z)
            truths = of_xy, (of_xy - of_yz) / (x - z)
        for one, truth in zip((two[i], three[i]), truths, strict=True):
            assert abs(one / truth - 1) <= 8 * np.finfo(float).eps


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_single_precision(dtype):
    """Of exp(A) at A with equal eigenvalues, to 1e-5 of the size."""
    case = CASES[0]
    a, c, d = (
        np.asarray(x, dtype)
        for x in (
            case.matrix(dtype == "complex64", 0),
            *(normal((3, 3), dtype == "complex64", k) for k in (5, 6)),
        )
    )
    for one, truth in zip(found(case, a, c, d, funcnet.grad), along(case, a, c, d), strict=True):
        assert abs(one - truth) <= 1e-5 * (100 + abs(truth))


def test_under_vmap_each_matrix_has_its_own_gradients():
    stack = np.stack([hermitian((1, 1, 3)), hermitian((2, 2, 2)), hermitian((1, 2, 3))])
    c = normal((3, 3), False, 5)

    def twice(a):
        return jax.grad(lambda a: jnp.sum(c * jax.grad(lambda a: jnp.sum(c * nn.polar(a)))(a)))(a)

    np.testing.assert_allclose(jax.vmap(twice)(stack), np.stack([twice(a) for a in stack]), atol=1e-12)


@pytest.mark.parametrize("grad", [funcnet.grad, jax.grad], ids=["funcnet", "jax"])
def test_the_nuclear_norm(grad):
    """U Vᴴ is its gradient, without the vectors of singular values 0; the next one is that of polar."""
    a, d = rectangular((2, 2, 1), (4, 3), True), normal((4, 3), True, 6)
    u, _, vh = np.linalg.svd(a, full_matrices=False)
    np.testing.assert_allclose(grad(nn.nuclear_norm)(a), (u @ vh).conj(), atol=1e-14)
    low = rectangular((2, 2, 0, 0), (5, 4))
    u, _, vh = np.linalg.svd(low, full_matrices=False)
    np.testing.assert_allclose(grad(nn.nuclear_norm)(low), u[:, :2] @ vh[:2], atol=1e-14)
    curvature = grad(lambda a: jnp.sum(d * grad(nn.nuclear_norm)(a)).real)(a)
    of_polar = grad(lambda a: jnp.sum(d * nn.polar(a).conj()).real)(a)
    np.testing.assert_allclose(curvature, of_polar, atol=1e-13)


@pytest.mark.parametrize("seed", [0, None], ids=["rotated", "diagonal"])
def test_what_is_not_defined_has_no_gradient(seed):
    """A projector that cuts a cluster, the polar factor of a singular matrix."""
    c = normal((4, 4), False, 5)
    for function, a in (
        (nn.projector, hermitian((1, 2, 3, 3), seed=seed)),
        (nn.polar, rectangular((2, 1, 1, 0), (4, 4), seed=seed)),
        (functools.partial(nn.low_rank, rank=2), rectangular((2, 1, 1, 0), (4, 4), seed=seed)),
    ):
        for grad in (funcnet.grad, jax.grad):
            assert np.isnan(grad(lambda a, f=function: jnp.sum(c * f(a)))(a)).all()


BAD_CALLS: list[tuple[Callable, tuple, dict, type, str]] = [
    (nn.matrix_function, ((3, 2),), {}, ShapeError, r"shape \[3, 2\]; expected square matrices"),
    (nn.matrix_function, ((3, 3),), {"function": "sin"}, ParameterError, "'sin', expected one of exp, log"),
    (nn.frechet, ((3, 3), (3,)), {}, ShapeError, r"e has shape \[3\], expected that of a, \[3, 3\]"),
    (nn.projector, ((3, 3),), {"rank": 4}, ParameterError, "rank is 4; expected 0 to 3"),
    (nn.polar, ((3,),), {}, ShapeError, r"expected matrices \[\*batch, m, n\]"),
]


@pytest.mark.parametrize(("function", "shapes", "params", "error", "words"), BAD_CALLS)
def test_bad_arguments_are_named(function: Any, shapes, params, error, words):
    with pytest.raises(error, match=words):
        function(*(jnp.ones(shape) for shape in shapes), **params)
