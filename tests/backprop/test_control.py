"""Equations that call programs: jit, custom rules, branches, remat and linear solves, beside JAX."""

import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import funcnet
from funcnet import nn
from funcnet._errors import GradientError, MissingRuleError
from tests.backprop.compare import Row, check, check_eager

X = np.array([0.3, -0.7, 1.1])
Y = np.array([0.9, 0.4, -0.2])
A = np.array([[3.0, 1.0, 0.2], [1.0, 4.0, 0.5], [0.2, 0.5, 2.0]])


@functools.partial(jax.jit, static_argnums=1)
def power(x, n):
    return x**n * jnp.sin(x)


@jax.jit
def twice(x):
    return {"half": x / 2, "all": power(x, 2), "count": 3}


def closes_over(x, y):
    @jax.jit
    def inner(z):
        return z * y + jnp.arange(3.0)

    return inner(inner(x))


@jax.custom_jvp
def steep(x, y):
    return jnp.sin(x) * y


@steep.defjvp
def steep_jvp(primals, tangents):
    (x, y), (x_dot, y_dot) = primals, tangents
    return steep(x, y), 3 * x_dot * jnp.cos(x) * y + y_dot * x**2


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 2))
def apply(f, x, n):
    return f(x) * n


@apply.defjvp
def apply_jvp(f, n, primals, tangents):
    return f(primals[0]) * n, tangents[0] * f(primals[0]) ** 2 * n


@jax.custom_jvp
def product(x, y):
    return x * y


def product_jvp(primals, tangents):
    zero = jax.custom_derivatives.SymbolicZero
    x_dot, y_dot = tangents
    terms = [7 * t * p for t, p in ((x_dot, primals[1]), (y_dot, primals[0])) if type(t) is not zero]
    return product(*primals), functools.reduce(jnp.add, terms)


product.defjvp(product_jvp, symbolic_zeros=True)


@jax.custom_vjp
def doubled(tree, n):
    return {"y": jnp.sin(tree["a"]) * n, "z": tree["b"]}


def doubled_forward(tree, n):
    return doubled(tree, n), (tree, n)


def doubled_backward(stash, y_bar):
    tree, n = stash
    return {"a": 2 * y_bar["y"] * jnp.cos(tree["a"]) * n, "b": 5 * y_bar["z"]}, None


doubled.defvjp(doubled_forward, doubled_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def clipped(low, high, x):
    return x * x


clipped.defvjp(
    lambda low, high, x: (x * x, x), lambda low, high, x, y_bar: (jnp.clip(2 * x * y_bar, low, high),)
)


@jax.custom_vjp
def no_gradient_for_y(x, y):
    return x * y


no_gradient_for_y.defvjp(lambda x, y: (x * y, y), lambda y, y_bar: (3 * y_bar * y, None))


def branches(x, y):
    return lax.cond(x[0] > 0, lambda: jnp.sin(x) * y, lambda: x)


def switched(x, i):
    cases = [
        jnp.sin,
        lambda x: jnp.zeros_like(x),
        jnp.exp,
        lambda x: x,
        lambda x: x**3,
        lambda x: power(x, 2),
    ]
    return lax.switch(i, cases, x)


def many_results(x, y, i):
    first = lambda x, y, i: (x * y, i, jnp.sum(x))  # noqa: E731
    second = lambda x, y, i: (y, i + 1, x[0] ** 2)  # noqa: E731
    return lax.cond(i > 3, first, second, x, y, i)


@jax.checkpoint
def rematerialized(x, y):
    return jnp.sin(jnp.sin(x) * y)


def nested_remat(x, y):
    return jax.checkpoint(lambda x: rematerialized(jnp.exp(x), y) * jnp.tanh(x))(x)


def solve(x, b):
    operator = A + jnp.diag(x)
    return lax.custom_linear_solve(
        lambda v: operator @ v,
        b,
        solve=lambda _, b: jnp.linalg.inv(operator) @ b,
        transpose_solve=lambda _, b: jnp.linalg.inv(operator).T @ b,
    )


def conjugate_gradients(x, b):
    operator = A + jnp.diag(x**2)
    jacobi = lambda v: v / jnp.diag(operator)  # noqa: E731
    return jax.scipy.sparse.linalg.cg(lambda v: operator @ v, b, tol=1e-14, M=jacobi)[0]


ROWS = [
    Row("jit", lambda x: power(x, 3), (X,)),
    Row("jit of jit, a constant among its results", twice, (X,)),
    Row("jit that closes over an argument", closes_over, (X, Y)),
    Row("jit called often", lambda x: power(power(power(x, 2), 2), 2), (X,)),
    Row(
        "jit whose results are its argument and a constant",
        lambda x: jax.jit(lambda x: (x, 2.0, x))(x),
        (X,),
        False,
        "linear",
    ),
    Row(
        "jit with donated and keyword arguments",
        lambda x, y: jax.jit(lambda x, *, y: x * y, donate_argnums=0)(jnp.sin(x), y=y),
        (X, Y),
    ),
    Row("jit inlined", lambda x: jax.jit(jnp.tanh, inline=True)(x), (X,)),
    Row("closed call", lambda x: jax.core.eval_jaxpr(jax.make_jaxpr(twice)(X).jaxpr, (), x)[0], (X,)),
    Row("named call", lambda x: jax.named_call(jnp.sin, name="wave")(x), (X,)),
    Row("custom_jvp of two arguments", steep, (X, Y)),
    Row("custom_jvp, one argument constant", lambda x: steep(x, Y), (X,)),
    Row("custom_jvp, an argument twice", lambda x: steep(x, x), (X,)),
    Row("custom_jvp with nondiff_argnums", lambda x: apply(jnp.sin, x, 3), (X,)),
    Row("custom_jvp with symbolic zeros", lambda x, y: product(x, Y) + product(x, y), (X, Y)),
    Row("custom_jvp under jit under vmap", lambda x, y: jax.vmap(jax.jit(steep))(x, y), (X, Y)),
    Row("custom_vjp with a pytree and an integer", lambda x, n: doubled({"a": x, "b": x[1]}, n), (X, 3)),
    Row("custom_vjp, one result unused", lambda x: doubled({"a": x, "b": x}, 2)["z"], (X,), False, "linear"),
    Row("custom_vjp with nondiff_argnums", lambda x: clipped(-1.0, 2.0, x) * x, (X,)),
    Row("custom_vjp, None for an argument", no_gradient_for_y, (X, Y)),
    Row("custom_vjp under vmap", lambda x, y: jax.vmap(no_gradient_for_y, (0, None))(x, y[0]), (X, Y)),
    Row(
        "custom_vjp under jit in scan",
        lambda x, y: lax.scan(lambda c, y: (jax.jit(no_gradient_for_y)(c, y), c), x, jnp.stack([y, x])),
        (X, Y),
    ),
    Row(
        "a gate of funcnet.nn", lambda x, y: nn.softmax_loss(nn.affine(x[None], A, y), jnp.array([1])), (X, Y)
    ),
    Row(
        "a gate under vmap in scan",
        lambda x: lax.scan(lambda c, _: (jax.vmap(nn.tanh)(c), None), x, length=3)[0],
        (X,),
    ),
    Row("cond, true", branches, (X, Y)),
    Row("cond, false", branches, (-X, Y), False, "linear"),
    Row("cond with several results", many_results, (X, Y, 4)),
    Row("cond with several results, the other branch", many_results, (X, Y, 3)),
    Row(
        "cond under vmap is a select",
        lambda x, y: jax.vmap(lambda x, y: lax.cond(x > 0, lambda: x * y, lambda: jnp.cos(x)))(x, y),
        (X, Y),
    ),
    Row(
        "cond under vmap, one predicate",
        lambda x, y: jax.vmap(lambda x: lax.cond(y[0] > 0, jnp.sin, jnp.cos, x))(x),
        (X, Y),
    ),
    Row("cond in cond", lambda x, y: lax.cond(x[0] > 0, lambda: branches(x, y), lambda: y), (X, Y)),
    Row(
        "cond in scan",
        lambda x: lax.scan(lambda c, x: (lax.cond(x > 0, jnp.sin, jnp.exp, c * x), c), 1.5, x),
        (X,),
    ),
    Row(
        "cond over a jitted function and a gate",
        lambda x: lax.cond(x[0] > 0, lambda x: power(x, 3), nn.tanh, x),
        (X,),
    ),
    Row(
        "switch, each branch and beyond",
        lambda x: lax.map(lambda i: switched(x, i) * x, jnp.arange(-1, 8)),
        (X,),
    ),
    Row("switch, a branch without a gradient", lambda x: switched(x, 1) + x**2, (X,)),
    Row("switch under vmap", lambda x: jax.vmap(switched)(x, jnp.array([0, 2, 5])), (X,)),
    Row("remat", rematerialized, (X, Y)),
    Row("remat in remat", nested_remat, (X, Y)),
    Row(
        "remat in scan",
        lambda x, y: lax.scan(lambda c, _: (rematerialized(c, y), None), x, length=3)[0],
        (X, Y),
    ),
    Row(
        "scan in remat",
        lambda x, y: jax.checkpoint(lambda x: lax.scan(lambda c, y: (jnp.sin(c * y), c), x, y))(x[0]),
        (X, Y),
    ),
    Row(
        "remat that closes over an argument", lambda x, y: jax.checkpoint(lambda z: jnp.sin(z * y))(x), (X, Y)
    ),
    Row(
        "remat without a barrier",
        lambda x: jax.checkpoint(lambda x: jnp.sin(jnp.exp(x)), prevent_cse=False)(x),
        (X,),
    ),
    Row(
        "remat with a static argument",
        lambda x: jax.checkpoint(lambda x, n: jnp.sin(x) ** n, static_argnums=1)(x, 3),
        (X,),
    ),
    Row("remat of a custom_vjp", lambda x, y: jax.checkpoint(no_gradient_for_y)(jnp.sin(x), y), (X, Y)),
    Row("remat of a cond under jit", lambda x, y: jax.checkpoint(jax.jit(branches))(jnp.sin(x), y), (X, Y)),
    Row("remat under vmap", lambda x, y: jax.vmap(rematerialized)(x, y), (X, Y)),
    Row(
        "remat of integers and keys",
        lambda x, k: jax.checkpoint(lambda x, k: jnp.sin(x) * jax.random.normal(k))(x, k),
        (X, jax.random.key(1)),
    ),
    Row("custom_linear_solve", solve, (X, Y)),
    Row("custom_linear_solve, constant operator", lambda y: solve(X, y) ** 2, (Y,)),
    Row("custom_linear_solve, constant right side", lambda x: solve(x, Y), (X,)),
    Row(
        "custom_linear_solve, symmetric",
        lambda x: lax.custom_linear_solve(
            lambda v: jnp.sin(x) * v, 3 * x, lambda _, b: b / jnp.sin(x), symmetric=True
        ),
        (X,),
    ),
    Row(
        "custom_linear_solve under vmap",
        lambda x, y: jax.vmap(solve, (None, 0))(x, jnp.stack([y, x])),
        (X, Y),
    ),
    Row("conjugate gradients, preconditioned", conjugate_gradients, (X, Y)),
    Row("bicgstab", lambda x, b: jax.scipy.sparse.linalg.bicgstab(A + jnp.diag(x), b, tol=1e-14)[0], (X, Y)),
    Row("stop_gradient", lambda x: lax.stop_gradient(jnp.sin(x)) * x**2, (X,)),
    Row("associative_scan", lambda x: lax.associative_scan(jnp.multiply, x), (X,)),
    Row("map", lambda x: lax.map(lambda x: jnp.sin(x) * x, x), (X,)),
    Row("map in batches", lambda x: lax.map(jnp.sin, x, batch_size=2), (X,)),
    Row("checkpoint_name", lambda x: checkpoint_name(jnp.sin(x), "wave"), (X,)),
    Row("optimization_barrier", lambda x, y: lax.optimization_barrier((jnp.sin(x), y))[0] * y, (X, Y)),
    Row("jvp of a function", lambda x, y: jax.jvp(jnp.sin, (x,), (y,)), (X, Y)),
    Row(
        "linear transpose of a function",
        lambda x, y: jax.linear_transpose(lambda y: x * y, y)(jnp.cos(y))[0],
        (X, Y),
    ),
    Row("jax.grad of a function", lambda x: jax.grad(lambda x: jnp.sum(jnp.tanh(x) ** 3))(x), (X,)),
    *(
        Row(
            f"jax.nn.{name}",
            getattr(jax.nn, name),
            (np.array([-2.1, -0.3, 0.4, 7.0]),),
            False,
            "the rules' own tests go on",
        )
        for name in (
            "relu",
            "relu6",
            "softplus",
            "silu",
            "elu",
            "selu",
            "celu",
            "gelu",
            "mish",
            "log_sigmoid",
            "squareplus",
            "sparse_plus",
            "log_softmax",
            "softmax",
            "logsumexp",
            "standardize",
            "glu",
        )
    ),
]


EAGER = [
    "jit of jit, a constant among its results",
    "jit that closes over an argument",
    "custom_jvp with nondiff_argnums",
    "custom_vjp with a pytree and an integer",
    "custom_vjp under jit in scan",
    "cond with several results",
    "cond in scan",
    "remat in remat",
    "scan in remat",
    "remat of integers and keys",
    "custom_linear_solve",
    "conjugate gradients, preconditioned",
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_control(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", EAGER)
def test_control_without_jit(name):
    check_eager(next(row for row in ROWS if row.name == name))


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (jax.nn.relu, 0.0, 0.0),
        (jax.nn.relu6, 6.0, 0.0),
        (jax.nn.leaky_relu, 0.0, 1.0),
        (jax.nn.elu, 0.0, 1.0),
        (jax.nn.hard_tanh, 1.0, 1.0),
        (lambda x: jnp.logaddexp(x, -jnp.inf), 3.0, 1.0),
        (lambda x: jnp.logaddexp(x, x), 3.0, 1.0),
        (lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0), -1.0, 0.0),
    ],
)
def test_at_a_kink(f, x, expected):
    assert funcnet.grad(f)(x) == expected == jax.grad(f)(x)


def test_a_jitted_function_is_traced_and_compiled_once(caplog):
    traces = []

    @jax.jit
    def f(x):
        traces.append(x)
        return jnp.sin(x) * x

    gradient = funcnet.grad(lambda x: f(x) + f(2 * x))
    gradient(1.0)
    assert len(traces) == 1
    with jax.log_compiles():
        for x in (2.0, 3.0):
            gradient(x)
    assert len(traces) == 1
    assert "Compiling" not in caplog.text
    with jax.log_compiles():
        funcnet.grad(f)(jnp.ones((), jnp.bfloat16))
    assert "Compiling" in caplog.text


@pytest.mark.parametrize("x", [3.0, -3.0])
def test_only_the_branch_that_ran_runs_back(x):
    ran = []

    def watched(name):
        @jax.custom_vjp
        def f(x):
            return x

        def backward(_, y_bar):
            jax.debug.callback(lambda: ran.append(name))
            return (y_bar,)

        f.defvjp(lambda x: (x, None), backward)
        return f

    funcnet.grad(lambda x: lax.cond(x > 0, watched("positive"), watched("negative"), x))(x)
    jax.effects_barrier()
    assert ran == ["positive" if x > 0 else "negative"]


@pytest.mark.parametrize("around", [lambda f: f, jax.checkpoint, jax.jit])
def test_only_the_branch_of_the_platform_is_compiled(around):
    @around
    def f(x):
        sum_of_squares = lambda x: lax.scan(lambda c, x: (c + x * x, None), 0.0, x)[0]  # noqa: E731
        here = {jax.default_backend().replace("gpu", "cuda"): lambda x: jnp.sum(x * x)}
        return jnp.sin(lax.platform_dependent(x, **here, default=sum_of_squares))

    x = jnp.arange(8.0)
    program = jax.jit(funcnet.grad(f)).lower(x).as_text("hlo")
    assert " while(" not in program
    np.testing.assert_allclose(funcnet.grad(f)(x), 2 * x * jnp.cos(jnp.sum(x * x)), rtol=1e-6)


def writes_a_ref(x):
    ref = jax.new_ref(jnp.zeros(()))
    ref[...] = 2 * x
    return ref[...] * x


def scans_a_ref(x):
    ref = jax.new_ref(jnp.zeros(()))

    def body(c, _):
        ref[...] += c
        return c * x, None

    lax.scan(body, x, length=3)
    return ref[...]


def starts_a_ref(x):
    return jax.freeze(jax.new_ref(x)) ** 2


@pytest.mark.parametrize(
    "f", [writes_a_ref, jax.jit(writes_a_ref), scans_a_ref, jax.jit(scans_a_ref), starts_a_ref]
)
def test_a_gradient_goes_through_a_mutable_array_of_the_function(f):
    for run in (lambda g: g, jax.jit):
        np.testing.assert_allclose(run(funcnet.grad(f))(2.0), run(jax.grad(f))(2.0), rtol=1e-6)


def test_a_gradient_through_a_mutable_array_from_outside_is_refused():
    outside = jax.new_ref(jnp.zeros(()))

    def f(x):
        outside[...] = 2 * x  # refused here
        return outside[...] * x

    for g in (f, jax.jit(f)):
        with pytest.raises(MissingRuleError, match="mutable array") as error:
            funcnet.grad(g)(2.0)
        assert marked("refused here", str(error.value))


def test_a_mutable_array_may_record_what_is_constant():
    def f(x):
        ref = jax.new_ref(jnp.zeros(()))
        ref[...] = lax.stop_gradient(x)
        return ref[...] * x

    assert funcnet.grad(f)(3.0) == 3.0


def test_a_callback_is_refused():
    def f(x):
        return jax.pure_callback(np.sin, x, x) * x  # refused here

    with pytest.raises(MissingRuleError, match="'pure_callback'") as error:
        funcnet.grad(f)(jnp.float32(2.0))
    assert marked("refused here", str(error.value))
    assert funcnet.grad(lambda x: lax.stop_gradient(f(x)) * x)(jnp.float32(2.0)) == pytest.approx(
        2 * np.sin(2.0)
    )


def test_what_a_solver_returns_beside_the_solution_has_no_gradient():
    def f(x):
        solve = lambda _, b: (b / x, jnp.sin(x))  # noqa: E731
        return lax.custom_linear_solve(lambda v: x * v, 3.0, solve, symmetric=True, has_aux=True)

    assert funcnet.grad(lambda x: f(x)[0])(2.0) == -0.75
    for loss in (lambda x: f(x)[0] * f(x)[1], lambda x: f(x)[0] * lax.stop_gradient(f(x)[1])):
        assert funcnet.grad(loss)(2.0) == jax.grad(loss)(2.0) == -0.75 * np.sin(np.float32(2.0))


def test_a_custom_vjp_that_closes_over_an_argument_is_refused():
    def f(x):
        @jax.custom_vjp
        def g(y):
            return y * x

        g.defvjp(lambda y: (y * x, None), lambda _, y_bar: (y_bar * x,))
        return g(x)

    with pytest.raises(GradientError, match="closes over"):
        funcnet.grad(f)(2.0)


def marked(comment, message):
    """Whether a message names a line of this file that ends in this comment."""
    places = re.findall(rf"{re.escape(__file__)}:(\d+)", message)
    lines = Path(__file__).read_text().splitlines()
    return any(lines[int(place) - 1].endswith(f"# {comment}") for place in places)


def test_the_eigenvalues_of_a_tridiagonal_matrix():
    """JAX bisects a bound on all of them, which has no gradient."""
    d, e = jnp.array([1.0, 2, 3]), jnp.array([0.5, 0.2])
    find = functools.partial(jax.scipy.linalg.eigh_tridiagonal, eigvals_only=True)
    dense = lambda d, e: jnp.linalg.eigvalsh(jnp.diag(d) + jnp.diag(e, 1) + jnp.diag(e, -1))  # noqa: E731
    weights = jnp.array([2.0, -1, 0.5])
    for got, wanted in zip(
        *(funcnet.grad(lambda d, e, f=f: weights @ f(d, e), (0, 1))(d, e) for f in (find, dense)), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    some = functools.partial(find, select="i", select_range=(0, 1))
    with pytest.raises(GradientError, match="eigvalsh of the whole matrix"):
        funcnet.grad(lambda d: some(d, e)[0])(d)
