"""grad, value_and_grad, vjp, jacobian and hessian beside JAX's functions of the same names."""

import functools
import re
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet._errors import GradientError, ShapeError

X = np.array([0.3, -0.7, 1.1], np.float32)
KEY = jax.random.key(5)
Pair = namedtuple("Pair", ["left", "right"])


def like(ours, theirs):
    """The same structure, types (weak ones too) and numbers, up to two roundings."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        if isinstance(b, str):
            assert a == b
            continue
        dtype = jax.typeof(b).dtype
        assert jax.typeof(a) == jax.typeof(b)
        if dtype != jax.dtypes.float0:
            eps = jnp.finfo(dtype).eps if jnp.issubdtype(dtype, jnp.inexact) else 0
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2 * eps, atol=0)


def of_pair(pair, scale=1.0):
    return jnp.sum(pair.left["w"] * pair.right[0]) * scale


def with_aux(x):
    return jnp.sum(x**2), {
        "array": 2 * x,
        "argument": x,
        "none": None,
        "word": "kept",
        "number": 3,
        "numpy": X,
    }


def key_and_number(key, x):
    return jnp.sum(x * jax.random.normal(key, (3,)))


GRADIENTS = [
    ("argnums=0", jnp.multiply, {}, (2.0, 3.0)),
    ("argnums=1", jnp.divide, {"argnums": 1}, (2.0, 3.0)),
    ("argnums=-1", jnp.divide, {"argnums": -1}, (2.0, 3.0)),
    ("argnums=(1, 0)", jnp.divide, {"argnums": (1, 0)}, (2.0, 3.0)),
    ("argnums=[0, -1]", lambda x, y, z: x * y / z, {"argnums": [0, -1]}, (2.0, 3.0, 4.0)),
    ("argnums=(0,)", jnp.multiply, {"argnums": (0,)}, (2.0, 3.0)),
    ("the same array twice", jnp.multiply, {"argnums": (0, 1)}, (X[0], X[0])),
    ("a Python number", lambda x: x * x, {}, (3.0,)),
    ("a numpy scalar", lambda x: x * x, {}, (np.float32(3.0),)),
    ("a numpy scalar of 64 bits without x64", lambda x: x * x, {}, (np.float64(3.0),)),
    ("a numpy array", lambda x: jnp.sum(x * x), {}, (X,)),
    ("float16", lambda x: jnp.sum(jnp.sin(x)), {}, (X.astype(np.float16),)),
    ("bfloat16", lambda x: jnp.sum(jnp.sin(x)), {}, (X.astype(jnp.bfloat16),)),
    (
        "bfloat16 to a float32 loss",
        lambda x: jnp.sum(x.astype(np.float32) ** 2),
        {},
        (X.astype(jnp.bfloat16),),
    ),
    ("a weak and a strong type", lambda x, w: x * w, {"argnums": (0, 1)}, (2.0, jnp.bfloat16(3.0))),
    ("rank 0", jnp.tanh, {}, (jnp.float32(0.3),)),
    ("size 0", lambda x: jnp.sum(jnp.exp(x)), {}, (np.zeros((2, 0), np.float32),)),
    ("a constant result", lambda x: 3.0, {}, (X,)),
    ("a constant array as result", lambda x: jnp.ones(()), {}, (2.0,)),
    ("the argument as result", lambda x: x, {}, (2.0,)),
    ("an unused argument", lambda x, y: x * 2.0, {"argnums": (0, 1)}, (2.0, X)),
    ("a dictionary, a tuple and a namedtuple", of_pair, {}, (Pair({"w": X, "unused": X}, (X, None)),)),
    ("a pytree without leaves", lambda nothing: jnp.float32(1.0), {}, ({},)),
    ("None for an argument", lambda x, y: x * 2, {"argnums": (0, 1)}, (2.0, None)),
    ("an integer", lambda x, n: x * n, {"argnums": (0, 1), "allow_int": True}, (2.0, 3)),
    ("an integer array alone", lambda n: jnp.sum(n * 2.0), {"allow_int": True}, (np.arange(3),)),
    ("a bool", lambda b, x: jnp.where(b, x, x * x), {"argnums": (0, 1), "allow_int": True}, (False, 2.0)),
    ("a random key", key_and_number, {"argnums": (0, 1), "allow_int": True}, (KEY, X)),
    ("a random key left alone", key_and_number, {"argnums": 1}, (KEY, X)),
    ("arguments that are no arrays", lambda x, word, f: f(x) * len(word), {}, (2.0, "four", jnp.sin)),
    ("holomorphic", lambda z: z**3, {"holomorphic": True}, (1.0 + 2.0j,)),
    ("holomorphic, an array", lambda z: jnp.sum(jnp.sin(z)), {"holomorphic": True}, (X + 1j,)),
    ("a real function of complex numbers", lambda z: jnp.sum(jnp.abs(z) ** 2), {}, (X + 1j,)),
    ("has_aux", with_aux, {"has_aux": True}, (X,)),
    ("has_aux, nothing in it", lambda x: (x * x, ()), {"has_aux": True}, (2.0,)),
    ("functools.partial", functools.partial(jnp.power, 2.0), {}, (3.0,)),
    ("a bound method", jnp.ones(3).dot, {}, (X,)),
]


@pytest.mark.parametrize(
    ("f", "options", "xs"), [row[1:] for row in GRADIENTS], ids=[row[0] for row in GRADIENTS]
)
def test_grad_and_value_and_grad(f, options, xs):
    gradient = jax.grad(f, **options)(*xs)
    like(funcnet.grad(f, **options)(*xs), gradient)
    value, x_bars = funcnet.value_and_grad(f, **options)(*xs)
    like(x_bars, gradient[0] if options.get("has_aux") else gradient)
    expected = f(*xs)
    for a, b in zip(jax.tree.leaves(value), jax.tree.leaves(expected), strict=True):
        assert a == b if isinstance(b, str) else np.allclose(a, b, rtol=1e-3)  # op by op, f rounds otherwise


@pytest.mark.usefixtures("no_shape_checks")
def test_a_numpy_integer_for_argnums():
    assert funcnet.grad(jnp.divide, np.int64(1))(2.0, 4.0) == -0.125


def test_keyword_arguments():
    f = lambda x, *, power, words=None: x**power  # noqa: E731
    assert funcnet.grad(f)(2.0, power=3, words={"a": "b"}) == 12.0


VJPS = [
    ("two results of different dtypes", lambda x: (jnp.sin(x), (x * 2).astype(jnp.bfloat16)), (X,)),
    ("an integer result", lambda x: {"n": jnp.argmax(x), "y": x * x}, (X,)),
    ("a key as result", lambda k, x: (k, x * 2), (KEY, X)),
    ("None among the results", lambda x: (None, [x * 2, None]), (X,)),
    (
        "results that are arguments, repeated and constant",
        lambda x, y: (x, y, x, x * y, x * y, jnp.ones(3)),
        (X, X),
    ),
    ("complex to complex", lambda z, w: z * w + jnp.conj(z), (X + 1j, X - 2j)),
    ("complex to real", lambda z: (jnp.real(z), jnp.abs(z)), (X + 1j,)),
    ("real to complex", lambda x: x * (1 + 2j), (X,)),
    ("no argument", lambda: 2.0, ()),
    ("size 0", lambda x: x * 2, (np.zeros((0, 2), np.float32),)),
    ("rank 0 and a Python number", lambda x, y: x * y, (X[0], 2.0)),
]


def upstream(y):
    """Some upstream gradient for a result."""
    if not jnp.issubdtype(y.dtype, jnp.inexact):
        return np.zeros(y.shape, jax.dtypes.float0)
    return (jnp.arange(1, y.size + 1).reshape(y.shape) * (1j if jnp.iscomplexobj(y) else 1)).astype(y.dtype)


@pytest.mark.parametrize(("f", "xs"), [row[1:] for row in VJPS], ids=[row[0] for row in VJPS])
def test_vjp(f, xs):
    (ours, our_pullback), (theirs, pullback) = funcnet.vjp(f, *xs), jax.vjp(f, *xs)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    y_bar = jax.tree.map(upstream, jax.eval_shape(f, *xs))
    like(our_pullback(y_bar), pullback(y_bar))
    like(our_pullback(y_bar), pullback(y_bar))


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.usefixtures("x64")
def test_double_precision(dtype):
    x = X.astype(dtype)
    (_, ours), (_, theirs) = (library.vjp(lambda x: jnp.sin(x) * x, x) for library in (funcnet, jax))
    like(ours(jnp.ones(3, dtype)), theirs(jnp.ones(3, dtype)))


def test_vjp_with_aux():
    y, pullback, aux = funcnet.vjp(lambda x: (x * x, {"x": x, "word": "kept"}), 3.0, has_aux=True)
    assert (y, *pullback(1.0), float(aux["x"]), aux["word"]) == (9.0, 6.0, 3.0, "kept")


def test_none_is_the_upstream_gradient_of_what_does_not_count():
    _, pullback = funcnet.vjp(lambda x: (x * x, [x, None]), 3.0)
    assert pullback((1.0, [None, None])) == (6.0,)
    assert pullback((None, [None, None])) == (0.0,)


def test_a_pullback_leaves_jit_and_enters_it():
    f = lambda x: jnp.sin(x) * x  # noqa: E731
    _, pullback = jax.jit(lambda x: funcnet.vjp(f, x))(X)
    expected = jax.vjp(f, X)[1](X)
    for x_bars in (pullback(X), jax.jit(pullback)(X), jax.jit(lambda pull, y: pull(y))(pullback, X)):
        np.testing.assert_allclose(x_bars, expected, rtol=1e-6)


def test_a_pullback_under_vmap():
    _, pullback = funcnet.vjp(lambda x: jnp.sin(x) * x, X)
    np.testing.assert_allclose(
        jax.vmap(pullback)(jnp.eye(3))[0], funcnet.jacobian(lambda x: jnp.sin(x) * x)(X)
    )


JACOBIANS = [
    ("a vector", lambda x: jnp.stack([x[0] * x[1], jnp.sum(x)]), {}, (X,)),
    ("a scalar", jnp.sin, {}, (0.3,)),
    (
        "pytrees on both sides",
        lambda d: {"y": d["a"] * d["b"][0], "z": (d["a"][0], None)},
        {},
        ({"a": X, "b": (X,)},),
    ),
    ("two arguments", lambda x, y: x * y, {"argnums": (0, 1)}, (X, X)),
    ("a constant result", lambda x: (3.0, x), {}, (X,)),
    ("two dtypes", lambda x: (x.astype(np.float32), x * x), {}, (X.astype(jnp.bfloat16),)),
    ("size 0", lambda x: x * x, {}, (np.zeros((0,), np.float32),)),
    ("has_aux", lambda x: (x * x, {"word": "kept", "y": x}), {"has_aux": True}, (X,)),
    ("holomorphic", lambda z: jnp.sin(z) * z[0], {"holomorphic": True}, (X + 1j,)),
    ("a matrix", lambda w: w @ X, {}, (np.eye(3, dtype=np.float32),)),
]


@pytest.mark.parametrize(
    ("f", "options", "xs"), [row[1:] for row in JACOBIANS], ids=[row[0] for row in JACOBIANS]
)
def test_jacobian(f, options, xs):
    like(funcnet.jacobian(f, **options)(*xs), jax.jacrev(f, **options)(*xs))


def test_the_jacobian_of_an_integer_is_float0():
    by_x, by_n = funcnet.jacobian(lambda x, n: x * n, (0, 1), allow_int=True)(X, np.arange(3))
    np.testing.assert_array_equal(by_x, np.diag(np.arange(3)))
    assert (by_n.shape, by_n.dtype) == ((3, 3), jax.dtypes.float0)


HESSIANS = [
    ("a vector", lambda x: jnp.sum(jnp.sin(x) * x[0]), {}, (X,)),
    ("a pytree", lambda d: d["x"] ** 2 * jnp.sum(d["y"] ** 3), {}, ({"x": jnp.float32(2.0), "y": X},)),
    ("two arguments", lambda x, y: jnp.sum(x * x * y), {"argnums": (0, 1)}, (X, X)),
    ("several results", lambda x: (x**2, jnp.sum(x) ** 3), {}, (X,)),
    ("has_aux", lambda x: (jnp.sum(x**3), {"word": "kept", "y": x}), {"has_aux": True}, (X,)),
    ("holomorphic", lambda z: jnp.sum(z**3), {"holomorphic": True}, (X + 1j,)),
    ("a linear function", jnp.sum, {}, (X,)),
]


@pytest.mark.parametrize(
    ("f", "options", "xs"), [row[1:] for row in HESSIANS], ids=[row[0] for row in HESSIANS]
)
def test_hessian(f, options, xs):
    theirs = jax.jacrev(jax.jacrev(f, **options), **options)(*xs)
    like(funcnet.hessian(f, **options)(*xs), theirs)


def test_replaced_rules_hold_for_both_derivatives_of_a_hessian():
    """sin′ is sin's rule's ȳ · cos x, so that sin″ is cos's rule's: 7 in place of −sin x."""
    rules = funcnet.RULES | {"cos": lambda y_bar, y, x: (7 * y_bar,)}
    assert funcnet.hessian(jnp.sin, rules=rules)(1.0) == 7


def test_perturbations_are_not_confused():
    inner = lambda x: lambda y: x + y  # noqa: E731
    for outer, of in ((funcnet, funcnet), (funcnet, jax), (jax, funcnet)):
        assert outer.grad(lambda x, of=of: x * of.grad(inner(x))(1.0))(2.0) == 1.0
        # d/dx [x · d/dy (x·y²) at y=x] = d/dx 2x³
        assert outer.grad(lambda x, of=of: x * of.grad(lambda y: x * y * y)(x))(2.0) == 24.0


F, J = funcnet.grad, jax.grad


@pytest.mark.parametrize(
    "order", [(F, F), (F, J), (J, F), (F, F, F), (F, J, F), (J, F, J), (F, F, J), (J, J, F), (F, F, F, F)]
)
@pytest.mark.usefixtures("x64")
def test_of_each_other_to_any_order(order):
    f = lambda x: jnp.sin(x) * jnp.exp(2 * x)  # noqa: E731
    expected = f
    for transform in reversed(order):
        f, expected = transform(f), jax.jacfwd(expected)
    np.testing.assert_allclose(f(0.3), expected(0.3), rtol=1e-13)


def energy(x, w):
    """A closure over x under every transformation: its gradient in y depends on x."""
    return jnp.sum(jnp.tanh(x) * funcnet.grad(lambda y: jnp.sum(jnp.sin(y * x) * w))(x))


def energy_by_jax(x, w):
    return jnp.sum(jnp.tanh(x) * jax.grad(lambda y: jnp.sum(jnp.sin(y * x) * w))(x))


NESTINGS = [
    lambda f, grad: jax.jit(f),
    lambda f, grad: jax.jit(grad(f)),
    lambda f, grad: grad(jax.jit(f)),
    lambda f, grad: jax.jit(grad(jax.jit(f))),
    lambda f, grad: jax.vmap(f, (0, None)),
    lambda f, grad: jax.vmap(grad(f), (0, None)),
    lambda f, grad: jax.jit(jax.vmap(grad(f), (0, None))),
    lambda f, grad: jax.vmap(jax.jit(grad(f)), (0, None)),
    lambda f, grad: grad(lambda x, w: jnp.sum(jax.vmap(f, (0, None))(x, w))),
    lambda f, grad: grad(lambda x, w: jnp.sum(jax.vmap(jax.jit(f), (0, None))(x, w)), 1),
    lambda f, grad: jax.vmap(jax.vmap(grad(f), (0, None)), (None, 0)),
    lambda f, grad: jax.grad(lambda x, w: jnp.sum(grad(f)(x, w) ** 2)),
    lambda f, grad: grad(lambda x, w: jnp.sum(jax.vmap(grad(f), (0, None))(x, w) ** 2)),
    lambda f, grad: lambda x, w: jax.lax.map(lambda x: grad(f)(x, w), x),
    lambda f, grad: jax.jacfwd(grad(f)),
    lambda f, grad: lambda x, w: jax.jvp(grad(f), (x, w), (x, w)),
    lambda f, grad: jax.checkpoint(grad(f)),
    lambda f, grad: lambda x, w: jax.linearize(grad(f), x, w)[1](x, w),
]


@pytest.mark.parametrize("number", range(len(NESTINGS)))
@pytest.mark.usefixtures("x64")
def test_in_every_nesting(number):
    x, w = np.array([[0.3, -0.7], [1.1, 0.2]]), np.array([0.4, -0.9])
    ours = NESTINGS[number](energy, funcnet.grad)(x, w)
    theirs = NESTINGS[number](energy_by_jax, jax.grad)(x, w)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


def test_a_cotangent_of_a_result_without_gradient_is_let_go():
    @jax.jit
    def f(x):
        return jnp.sin(x), jnp.sign(x), jnp.floor(x) + 1, jnp.exp(x)

    y, pullback = funcnet.vjp(f, 0.7)
    (x_bar,) = pullback(jax.tree.map(jnp.ones_like, y))
    assert float(x_bar) == pytest.approx(np.cos(0.7) + np.exp(0.7))


def test_debug_print_prints_once(capfd):
    def f(x):
        jax.debug.print("x = {}", x)
        return jnp.sin(x)

    for transformed in (
        funcnet.grad(f),
        jax.jit(funcnet.grad(f)),
        funcnet.grad(jax.jit(f)),
        funcnet.jacobian(f),
    ):
        transformed(2.0)
        jax.effects_barrier()
        assert capfd.readouterr().out.count("x = 2.0") == 1


def wave(x):
    with jax.named_scope("wave"):
        return jnp.sin(x)


@pytest.mark.parametrize(
    "f",
    [
        wave,
        jax.jit(wave),
        jax.checkpoint(wave),
        jax.vmap(wave),
        lambda x: lax.scan(lambda c, _: (wave(c), None), x, length=3)[0],
        lambda x: lax.cond(x[0] > 0, wave, jnp.tanh, x),
        lambda x: lax.fori_loop(0, x.size + x[0].astype(int), lambda _, x: wave(x), x),
    ],
    ids=["plain", "jit", "remat", "vmap", "scan", "cond", "while"],
)
def test_named_scopes_of_both_sweeps_are_in_the_compiled_program(f):
    def loss(x):
        with jax.named_scope("loss"):
            return jnp.sum(jnp.exp(f(x)))

    program = jax.jit(funcnet.grad(loss)).lower(X).compile().as_text()
    names = re.findall(r'op_name="([^"]*wave[^"]*)"', program)
    assert {re.split(r"\W", name)[-1] for name in names} >= {"sin", "cos"}  # forward and on the way back
    assert all(name.count("loss") == 2 and name.count("wave") == 1 for name in names)  # jit(loss)/loss/…/wave


def test_grad_keeps_the_name_and_the_docstring():
    def loss(x):
        """What is lost."""
        return x

    for transform in (funcnet.grad, funcnet.value_and_grad, funcnet.jacobian):
        assert transform(loss).__name__ == "loss"
        assert transform(loss).__doc__ == "What is lost."


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: funcnet.grad(3), GradientError, "expected a function"),
        (lambda: funcnet.vjp(3, 1.0), GradientError, "expected a function"),
        (lambda: funcnet.jacobian("f"), GradientError, "expected a function"),
        (lambda: funcnet.grad(jnp.sin, 1)(2.0), GradientError, "argnums=1 .*got 1 positional"),
        (lambda: funcnet.grad(jnp.sin, -2)(2.0), GradientError, "argnums=-2"),
        (lambda: funcnet.grad(jnp.divide, (0, 2))(2.0, 3.0), GradientError, r"argnums=\(0, 2\)"),
        (lambda: funcnet.grad(jnp.divide, (0, 0))(2.0, 3.0), GradientError, "twice"),
        (lambda: funcnet.grad(jnp.divide, (0, -2))(2.0, 3.0), GradientError, "twice"),
        (lambda: funcnet.grad(lambda x: x)(x=2.0), GradientError, "got 0 positional"),
        (
            lambda: funcnet.grad(jnp.sin, 0.5)(2.0),
            TypeError,
            "'float' object cannot be interpreted as an integer",
        ),
        (lambda: funcnet.grad(jnp.sin, has_aux=True)(2.0), GradientError, r"expected a pair \(result, aux\)"),
        (lambda: funcnet.grad(jnp.sin, holomorphic=True)(2.0), GradientError, "expected complex numbers"),
        (lambda: funcnet.grad(jnp.sin)(2.0 + 1j), GradientError, "expected real floats"),
        (lambda: funcnet.grad(jnp.real, holomorphic=True)(1j), GradientError, "expected complex numbers"),
        (lambda: funcnet.grad(lambda x: 2)(1.0), GradientError, "int32.*expected real floats"),
        (lambda: funcnet.jacobian(jnp.argmax)(X), GradientError, "int32.*expected real floats"),
        (lambda: funcnet.vjp(lambda x: (x, x), 2.0)[1](1.0), ShapeError, "structure"),
        (lambda: funcnet.vjp(lambda x: {"a": x}, 2.0)[1]({"b": 1.0}), ShapeError, "structure"),
        (lambda: funcnet.vjp(lambda x: x, 2.0)[1]([1.0]), ShapeError, "structure"),
        (lambda: funcnet.vjp(jnp.sin, X)[1](1.0), ShapeError, r"got float32\[\], expected float32\[3\]"),
        (lambda: funcnet.vjp(jnp.sin, X)[1](X.astype(np.float16)), ShapeError, "got float16"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
