"""What is right is accepted: rules, whole functions, and functions of other libraries."""

import functools

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet import check_vjp
from tests.check.functions import (
    LAYER,
    SQUARE_MATRIX,
    TALL,
    X,
    energy,
    layer,
    layer_gradient,
    product,
    sine,
    squares_times,
)
from tests.check.rows import array, custom


@jax.custom_jvp
def log1pexp(x):
    return jnp.logaddexp(x, 0.0)


log1pexp.defjvps(lambda x_dot, y, x: jax.nn.sigmoid(x) * x_dot)


@jax.custom_jvp
def versine(x):
    return 1 - jnp.cos(x)


@versine.defjvp
def versine_forward(primals, tangents):
    """Forward is better than the function, whose difference cancels in short dtypes."""
    return 2 * jnp.sin(primals[0] / 2) ** 2, jnp.sin(primals[0]) * tangents[0]


@jax.custom_vjp
def solved(inverse, a, b):
    """With an inverse of a that is handed on, as a factorization is: autodiff knows nothing of a."""
    return inverse @ b


def solved_backward(args, y_bar):
    inverse, y = args
    b_bar = inverse.T @ y_bar
    return jnp.zeros_like(inverse), -jnp.outer(b_bar, y), b_bar


solved.defvjp(lambda inverse, a, b: (inverse @ b, (inverse, inverse @ b)), solved_backward)


def solve(a, b):
    return solved(lax.stop_gradient(jnp.linalg.inv(a)), a, b)


def segment_sums(x, sizes):
    """Sums of x over parts of these sizes: in a loop, which takes no numpy array apart without jit."""
    ends = jnp.cumsum(jnp.asarray(sizes))

    def part(_, k):
        places = jnp.arange(x.size)
        return None, jnp.where((places < ends[k]) & (places >= ends[k] - sizes[k]), x, 0).sum()

    return lax.scan(part, None, jnp.arange(sizes.size))[1]


segments = custom(segment_sums, lambda args, y_bar: (jnp.repeat(y_bar, args[1], total_repeat_length=4), None))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 2))
def applied(f, x, power):
    return f(x) ** power


def applied_forward(f, x, power):
    return applied(f, x, power), x


def applied_backward(f, power, x, y_bar):
    return (y_bar * power * f(x) ** (power - 1) * jnp.cos(x),)


applied.defvjp(applied_forward, applied_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def reduced(x, kind="sum"):
    return {"sum": jnp.sum, "mean": jnp.mean}[kind](x)


reduced.defvjp(
    lambda x, kind: (reduced(x, kind), x),
    lambda kind, x, y_bar: (jnp.full_like(x, y_bar / (x.size if kind == "mean" else 1)),),
)


@jax.custom_vjp
def stashed_short(x, w):
    return x * w


stashed_short.defvjp(
    lambda x, w: (x * w, (x.astype("bfloat16"), w)),
    lambda stash, y_bar: (y_bar * stash[1], y_bar * stash[0].astype(y_bar.dtype)),
)


def in_a_mutable_array(x):
    y = jax.new_ref(x * x)
    y[0] = 3 * x[1]
    return y[...] * x


def taken(table, rows):
    return table[rows]


take = custom(taken, lambda args, y_bar: (jnp.zeros_like(args[0]).at[args[1]].add(y_bar), None))


def masked(x, key, rate):
    return jnp.where(jax.random.bernoulli(key, rate, x.shape), x / rate, 0.0)


def masked_gradient(args, y_bar):
    x, key, rate = args
    keep = jax.random.bernoulli(key, rate, x.shape)
    return jnp.where(keep, y_bar / rate, 0), None, -jnp.where(keep, y_bar * x, 0).sum() / rate**2


def ranked(x):
    order = jnp.argsort(x)
    return {"values": (x[order], [x.sum()]), "order": order}


class Scaled(equinox.Module):
    """A callable with an array inside."""

    weight: jax.Array

    def __call__(self, x):
        return sine(self.weight * x)


def fixed_point(w, x):
    """z = tanh(w z + x), by iteration."""
    return lax.fori_loop(0, 60, lambda _, z: jnp.tanh(w @ z + x), jnp.zeros_like(x))


def implicit_gradient(args, y_bar):
    """z̄ = ȳ + z̄ · ∂z/∂z, the adjoint fixed point (Bai et al. 2019, equation 10)."""
    w, x = args
    z = fixed_point(w, x)
    _, back = jax.vjp(lambda z, w, x: jnp.tanh(w @ z + x), z, w, x)
    adjoint = lax.fori_loop(0, 60, lambda _, z_bar: y_bar + back(z_bar)[0], y_bar)
    return back(adjoint)[1:]


TABLE, COUNTS = np.linspace(0.1, 1.7, 16).reshape(4, 4), np.arange(1, 5)
NEARLY_SINGULAR = jnp.asarray([[1.0, 0.99, 0.3], [0.99, 1.0, 0.31], [0.3, 0.32, 1.1]])
BF16, F16 = (jnp.asarray(X, dtype) for dtype in ("bfloat16", "float16"))
KEY = jax.random.key(3)
bias = np.asarray([1.0, 2.0, 3.0, 4.0], "float32")

FULL = {"transforms": ("jit", "vmap"), "dtypes": None}
SHORT_DTYPES = {"dtypes": None}

RIGHT = [
    ("no rule of its own", jnp.sin, (X,), {}),
    ("a custom_vjp", sine, (X,), FULL),
    ("a custom_jvp", log1pexp, (X,), SHORT_DTYPES),
    ("forward is another form of the function", versine, (jnp.linspace(0.05, 0.4, 6),), SHORT_DTYPES),
    ("a factorization that autodiff does not see", solve, (NEARLY_SINGULAR, X[:3]), SHORT_DTYPES),
    ("a numpy array of float64 that it closes over", lambda x: (jnp.outer(x, x) * TABLE).sum(1), (X,), FULL),
    ("one of int64", lambda x: (x * COUNTS) ** 2, (X,), FULL),
    ("sizes in a numpy array", segments, (X, np.array([1, 3], "int32")), {}),
    ("a pytree", custom(layer, layer_gradient), LAYER, FULL),
    (
        "complex numbers",
        custom(energy, lambda args, y_bar: (2 * args[0] * y_bar,)),
        (array(1 + 2j, 0.5, -1j, dtype="complex64"),),
        SHORT_DTYPES,
    ),
    ("complex to real", lambda z: (z * z.conj()).real, (array(1 + 2j, -1j, dtype="complex64"),), {}),
    ("integers", take, (TALL, jnp.asarray([2, 0, 2])), FULL),
    ("a typed key", custom(masked, masked_gradient), (X, KEY, 0.5), FULL),
    ("a raw key", custom(masked, masked_gradient), (X, jax.random.key_data(KEY), 0.5), {}),
    (
        "Python numbers",
        custom(product, lambda args, y_bar: (y_bar * args[1], y_bar * args[0])),
        (2.0, 3.0),
        SHORT_DTYPES,
    ),
    ("numpy arrays", sine, (np.array([0.5, 1.0]),), {}),
    ("a zero-size array beside another", lambda x, y: sine(jnp.concatenate([x, y])), (X, X[:0]), {}),
    ("only a zero-size array", sine, (jnp.zeros((0, 3)),), SHORT_DTYPES),
    ("rank 0", sine, (jnp.float32(0.3),), {}),
    ("rank 0, at 0", sine, (0.0,), {}),
    ("bfloat16", sine, (BF16,), SHORT_DTYPES),
    ("float16", sine, (F16,), SHORT_DTYPES),
    ("a mutable array", in_a_mutable_array, (X,), {}),
    ("a stash in the dtype of the arguments", stashed_short, (BF16 / 3, BF16), {}),
    ("a result in float32, whatever comes", squares_times(1.0), (X,), FULL),
    ("a result in float32 of bfloat16", squares_times(1.0), (BF16,), SHORT_DTYPES),
    ("short dtypes asked for", sine, (X,), {"dtypes": ("float32", "bfloat16", jnp.float16)}),
    ("float64 without x64", sine, (np.linspace(-2.0, 2.0, 5),), SHORT_DTYPES),
    ("a string and a default", reduced, (X, "mean"), {}),
    ("a static argument left to its default", reduced, (X,), {}),
    ("a function and an int, static", applied, (jnp.sin, X, 3), {}),
    ("under jit", jax.jit(sine), (X,), {}),
    ("under vmap", jax.vmap(sine), (SQUARE_MATRIX,), {}),
    ("under remat", jax.checkpoint(sine), (X,), {}),
    ("in scan", lambda x: lax.scan(lambda c, _: (sine(c), c), x, length=3), (X,), {}),
    ("in cond", lambda x: lax.cond(x[0] > 0, sine, jnp.tanh, x), (X,), {}),
    (
        "a solver with a loop of unknown length",
        custom(
            lambda x: lax.while_loop(
                lambda r: (
                    (abs(r * r - x) > 1e-14 * x).any() & (r.dtype == "float64")
                    | (abs(r * r - x) > 1e-6 * x).any()
                ),
                lambda r: (r + x / r) / 2,
                x,
            ),
            lambda args, y_bar: (y_bar / (2 * jnp.sqrt(args[0])),),
        ),
        (X[2:],),
        {"reference": jnp.sqrt},
    ),
    (
        "a fixed point by its adjoint",
        custom(fixed_point, implicit_gradient),
        (0.2 * SQUARE_MATRIX, X[:3]),
        {},
    ),
    ("a gate", funcnet.nn.affine, (SQUARE_MATRIX, SQUARE_MATRIX, X[:3]), {}),
    ("a gate with a parameter", functools.partial(funcnet.nn.leaky_relu, slope=0.2), (X,), {}),
    ("an array closed over", lambda x: sine(x + bias), (X,), {}),
    ("an array bound by partial", functools.partial(product, X), (X,), {}),
    ("a callable module", Scaled(X), (X,), {}),
    ("nested results, integers among them", ranked, (X,), SHORT_DTYPES),
    ("a gather and a maximum", lambda x: x[jnp.array([0, 0, 2])].max(), (X,), {}),
    ("a reference", sine, (X,), {"reference": lambda x: (jnp.exp(1j * x)).imag}),
    ("a key of jax.random", sine, (X,), {"key": KEY}),
    ("a raw key of jax.random", sine, (X,), {"key": jax.random.key_data(KEY)}),
]


@pytest.mark.in_turns(2)
@pytest.mark.parametrize(
    ("function", "args", "options"), [row[1:] for row in RIGHT], ids=[row[0] for row in RIGHT]
)
def test_a_right_gradient_is_accepted(function, args, options):
    report = check_vjp(function, *args, **{"transforms": (), "dtypes": (), **options})
    assert all(row.error <= 8 for row in report.rows)
    assert report.calls <= 15


@pytest.mark.parametrize("n", [4, 1024])
def test_a_check_takes_a_dozen_compiled_calls_at_most(n):
    x = jnp.asarray(np.random.default_rng(0).normal(size=n), "float32")
    report = check_vjp(sine, x)
    assert report.calls <= 12
    assert report.own_rules == 1
    assert report.probes > 50


def symmetric_solve(a, b):
    return jnp.linalg.solve(a, b)


def symmetric_solve_gradient(args, y_bar):
    """a is its own transpose."""
    a, b = args
    adjoint = jnp.linalg.solve(a, y_bar)
    return -jnp.outer(adjoint, jnp.linalg.solve(a, b)), adjoint


def test_a_rule_may_rely_on_the_structure_of_its_arguments():
    symmetric = jnp.asarray([[4.0, -1.0, 0.5], [-1.0, 3.0, -0.3], [0.5, -0.3, 5.0]])
    check_vjp(custom(symmetric_solve, symmetric_solve_gradient), symmetric, X[:3], transforms=())


def test_a_wrapped_function_has_a_signature_of_its_own():
    @functools.wraps(product)
    def doubled(a):
        return product(a, 2.0)

    check_vjp(doubled, X, transforms=(), dtypes=())
