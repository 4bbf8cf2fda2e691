"""funcnet differentiates without JAX's differentiation: with JAX's tables empty, everything still works."""

import ast
import functools
import gc
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax._src.interpreters import ad
from jax.extend import core

import funcnet
from funcnet import _jax, nn

X = np.array([0.3, 0.7, 1.1])
A = np.array([[3.0, 1.0, 0.2], [1.0, 4.0, 0.5], [0.2, 0.5, 2.0]])
IMAGE = np.linspace(-1, 1, 2 * 6 * 6 * 3).reshape(2, 6, 6, 3)

TABLES = [
    "primitive_jvps",
    "primitive_linearizations",
    "primitive_transposes",
    "fancy_transposes",
    "reducing_transposes",
    "linearize_on_zero_tangents",
]  # of either version


@jax.custom_jvp
def cube(x):
    return x**3


cube.defjvp(lambda x, x_dot: (cube(*x), 3 * x[0] ** 2 * x_dot[0]))


@jax.custom_vjp
def square(x):
    return x * x


square.defvjp(lambda x: (x * x, x), lambda x, y_bar: (2 * x * y_bar,))


def convnet(x):
    kernel = 0.1 * jnp.arange(3 * 3 * 3 * 2.0).reshape(3, 3, 3, 2)
    h = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    h = (h - jnp.mean(h, (0, 1, 2))) / jnp.sqrt(jnp.var(h, (0, 1, 2)) + 1e-5)
    h = lax.reduce_window(jax.nn.relu(h), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return jax.nn.logsumexp(h)


def attention(x):
    q, k = jnp.outer(x, X), jnp.outer(jnp.sin(x), X)
    return jax.nn.softmax(q @ k.T / 2) @ jax.nn.gelu(q)


def likelihood(x):
    lower = jnp.linalg.cholesky(A + jnp.diag(x))
    residual = jax.scipy.linalg.solve_triangular(lower, x, lower=True)
    return -0.5 * residual @ residual - jnp.sum(jnp.log(jnp.diag(lower)))


PROGRAMS = {
    "arithmetic": lambda x: (x * 2 + x / (1 + x)) ** 3 - x**x,
    "elementary functions": lambda x: (
        jnp.tanh(jnp.exp(-x) * jnp.sin(x)) + jnp.log1p(x) * jnp.sqrt(x) + jnp.arctan2(x, 2.0)
    ),
    "special functions": lambda x: (
        jax.scipy.special.erf(x) * jax.scipy.special.gammaln(x) + jax.scipy.special.i0e(x)
    ),
    "jit": jax.jit(lambda x: jax.jit(jnp.sin)(x) * x),
    "cond": lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x),
    "switch": lambda x: lax.switch(2, [jnp.sin, jnp.cos, jnp.exp], x),
    "scan": lambda x: lax.scan(lambda c, y: (jnp.sin(c * y), c), x, jnp.stack([x, x])),
    "while": lambda x: lax.while_loop(lambda s: s[0] < 4, lambda s: (s[0] + 1, jnp.sin(s[1] * x)), (0, x))[1],
    "associative_scan": lambda x: lax.associative_scan(jnp.multiply, x),
    "remat": jax.checkpoint(lambda x: jnp.sin(jnp.exp(x))),
    "custom_jvp": lambda x: cube(x) + jnp.logaddexp(x, 1.0),
    "custom_vjp": lambda x: square(jnp.sin(x)),
    "gates": lambda x: nn.sigmoid(nn.affine(x[None], A, x)) + nn.elu(x),
    "linear solve": lambda x: jax.scipy.sparse.linalg.cg(A + jnp.diag(x), x, tol=1e-14)[0],
    "activations": lambda x: jax.nn.silu(x) + jax.nn.softplus(x) + jax.nn.log_softmax(x) + jax.nn.selu(-x),
    "attention": attention,
    "indexing and sorting": lambda x: (
        x[jnp.array([2, 0, 0])].at[1].mul(3.0) * jnp.sort(x)[::-1] + lax.top_k(x, 3)[0]
    ),
    "cumulative sums and products": lambda x: (
        jnp.cumsum(x) * jnp.cumprod(x) + lax.cumlogsumexp(x) + jnp.prod(x)
    ),
    "fft": lambda x: jnp.abs(jnp.fft.rfft(jnp.concatenate([x, jnp.sin(x)]))),
    "cholesky and triangular solve": likelihood,
    "lu": lambda x: jax.scipy.linalg.lu(A * x)[2],
    "qr": lambda x: jnp.linalg.qr(A * x)[1],
    "eigh": lambda x: jnp.linalg.eigh(A + jnp.outer(x, x))[0],
    "svd": lambda x: jnp.linalg.svd(A * x, compute_uv=False),
    "vmap": lambda x: jax.vmap(lambda x: x * jnp.sin(x))(x),
    "random numbers": lambda x: x * jax.random.normal(jax.random.key(0), (3,)),
}


def loss(f):
    return lambda x: sum(jnp.sum(jnp.cos(y)) for y in jax.tree.leaves(f(x)))


TWICE = ("elementary functions", "jit", "cond", "scan", "while", "remat", "custom_jvp", "custom_vjp", "eigh")


def listing(jaxpr):
    """The equations of a program, each with those of the programs in it.

    A printed program would also tell which calls share one program, which is up to JAX's caches.
    """
    numbers = {}

    def told(atom):
        return (
            str(atom) if _jax.is_literal(atom) else (numbers.setdefault(atom, len(numbers)), str(atom.aval))
        )

    def told_of(eqn):
        texts = {name: re.sub("0x[0-9a-f]+", "", str(value)) for name, value in eqn.params.items()}
        params = {name: text for name, text in texts.items() if "{ lambda" not in text}
        inner = [listing(program) for program, _ in _jax.programs(eqn)]
        return eqn.primitive.name, [*map(told, eqn.invars)], [*map(told, eqn.outvars)], params, inner

    inputs = [*map(told, [*jaxpr.constvars, *jaxpr.invars])]
    return inputs, [*map(told_of, jaxpr.eqns)], [*map(told, jaxpr.outvars)]


def programs():
    """The programs of the derivatives: all that differentiation is happens in tracing."""
    found = {"convnet": jax.make_jaxpr(funcnet.grad(convnet))(IMAGE)}
    for name, f in PROGRAMS.items():
        found[name] = jax.make_jaxpr(funcnet.value_and_grad(loss(f)))(X)
    for name in TWICE:
        slope = lambda x, f=PROGRAMS[name]: jnp.sum(jnp.sin(funcnet.grad(loss(f))(x)))  # noqa: E731
        found[f"{name}, twice"] = jax.make_jaxpr(funcnet.grad(slope))(X)
    return {name: listing(program.jaxpr) for name, program in found.items()}


def values():
    """Gradients that are computed while they are traced."""
    return {
        name: funcnet.grad(loss(PROGRAMS[name]))(X)
        for name in ("jit", "scan", "custom_jvp", "custom_vjp", "remat")
    }


def forget():
    """Let go of all that was traced, by JAX and here."""
    jax.clear_caches()
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper) and one.__module__.startswith("funcnet."):
            one.cache_clear()


@pytest.fixture
def no_differentiation_in_jax():
    """JAX's rules are gone for the length of a test, and so is what was traced while they were there."""
    tables = [getattr(ad, name) for name in TABLES if hasattr(ad, name)]
    kept = [table.copy() for table in tables]
    forget()
    for table in tables:
        table.clear()
    yield
    for table, entries in zip(tables, kept, strict=True):
        table.update(entries)
    forget()


@pytest.mark.usefixtures("x64")
def test_nothing_of_jax_differentiates(request):
    forget()
    programs_before, values_before = programs(), values()
    request.getfixturevalue("no_differentiation_in_jax")
    for differentiate in (jax.grad, jax.jacfwd):
        with pytest.raises(NotImplementedError):
            differentiate(jnp.sin)(1.0)
    assert programs() == programs_before
    values_after = values()
    for name, expected in values_before.items():
        np.testing.assert_array_equal(values_after[name], expected)
        assert np.isfinite(expected).all()


def test_no_primitive_of_jax_is_taken_for_somebody_elses():
    """Others' primitives are differentiated by the rule that they registered; JAX's own never are."""
    own = [value for value in vars(core.primitives).values() if isinstance(value, core.Primitive)]
    assert len(own) > 150
    for primitive in own:
        assert not _jax.is_foreign(primitive), primitive
        assert _jax.registered(primitive) == (None, None), primitive


def test_a_primitive_of_others_is_told_by_who_says_what_it_computes():
    doubled = core.Primitive("doubled")
    doubled.def_impl(lambda x: 2 * x)
    doubled.def_abstract_eval(lambda x: x)
    assert _jax.is_foreign(doubled)
    ad.deflinear(doubled, lambda y_bar: [2 * y_bar])
    assert _jax.author_of(doubled) == __name__
    assert funcnet.grad(lambda x: jnp.sin(doubled.bind(x)))(0.5) == pytest.approx(2 * np.cos(1.0))


DIFFERENTIATES = {
    "grad",
    "value_and_grad",
    "vjp",
    "jvp",
    "linearize",
    "linear_transpose",
    "jacfwd",
    "jacrev",
    "jacobian",
    "hessian",
    "custom_jvp",
    "custom_vjp",
    "custom_gradient",
    "ad",
    "fwd_and_bwd",
    "saved_residuals",
    "vjp3",
}
OF_JAX = {"jax", "lax", "core", "primitives", "ad", "api"}


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for folder in ("rules", "backprop")
        for path in (Path(funcnet.__file__).parent / folder).glob("*.py")
    ),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_no_file_names_a_differentiation_of_jax(path):
    """`slope` in rules/_table.py says to JAX what the derivative of a part of a rule is; so does softmax."""
    said = {"custom_jvp"} if path.name in ("_table.py", "softmax.py") else set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert not (node.value.id in OF_JAX and node.attr in DIFFERENTIATES - said), f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jax"):
            assert not DIFFERENTIATES & {name.name for name in node.names}, f"line {node.lineno}"
            assert "interpreters" not in node.module, f"line {node.lineno}"
