"""Settings of JAX that change how it computes, and effects on the host, which happen once."""

# ruff: noqa: N803
# J is a library that differentiates.

import contextlib
import io

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.backprop.border import Kind, jvp_of, vjp_of
from tests.backprop.border_mixed import own_backward, own_rule, wave

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])
A, B = np.float32([0.3, 0.7])
ONE = np.float32(1)

SETTINGS = Kind("settings of JAX")


def losses(x):
    """A sum of many primitives, without anything that the settings forbid."""
    y = jnp.tanh(x) * jax.nn.softmax(x) + jnp.maximum(x, jnp.zeros_like(x)) ** 2
    y = y.at[0].mul(jnp.float32(2)) + jnp.sort(x) + jnp.cumsum(x) + jnp.where(x > 0, x, jnp.exp(x))
    y = jnp.concatenate([y, x[::-1]]) @ jnp.outer(jnp.concatenate([x, x]), x)
    return (
        jnp.linalg.norm(y) + jnp.prod(x) + lax.scan(lambda c, y: (c * y + jax.nn.relu(y), None), x[0], y)[0]
    )


CONTEXTS = {
    "strict dtype promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "rank promotion raises": lambda: jax.numpy_rank_promotion("raise"),
    "checks": lambda: jax.enable_checks(True),
    "no NaN": lambda: jax.debug_nans(True),
    "no infinity": lambda: jax.debug_infs(True),
    "jit is disabled": lambda: jax.disable_jit(),
    "a default precision": lambda: jax.default_matmul_precision("float32"),
    "a default device": lambda: jax.default_device(jax.devices("cpu")[0]),
    "float64": lambda: jax.enable_x64(True),
    "another generator": lambda: jax.default_prng_impl("rbg"),
    "keys used once": lambda: jax.debug_key_reuse(True),
}
USES = {
    "grad": lambda J: J.value_and_grad(losses)(jnp.asarray(X)),
    "pullback": lambda J: J.vjp(lambda x: x * jnp.tanh(x), jnp.asarray(X))[1](jnp.asarray(Y)),
    "random": lambda J: J.grad(lambda x, k: (x * jax.random.normal(k, (3,))).sum())(X, jax.random.key(1)),
    "custom rules": lambda J: J.grad(lambda x: own_backward()(x) * own_rule()(x))(A),
    "jit": lambda J: jax.jit(J.grad(jax.jit(wave)))(A),
}


def within(context, run):
    def row(J):
        with context():
            return run(J)

    return row


for _name, _context in CONTEXTS.items():
    for _use, _run in USES.items():
        _cancels = {"ulps": 64} if _use == "grad" else {}  # the loss is a sum of both signs
        SETTINGS.add(f"{_name}, {_use}", within(_context, _run), **_cancels)


@SETTINGS(raises=FloatingPointError)
def a_nan_is_found(J):
    with jax.debug_nans(True):
        return J.grad(lambda x: jnp.log(x) * x)(-A)


@SETTINGS(raises=FloatingPointError)
def a_nan_on_the_way_back_is_found(J):
    with jax.debug_nans(True):
        return J.grad(lambda x: jnp.where(x > 0, jnp.sqrt(x), x))(np.float32(0) * A)


@SETTINGS()
def a_key_that_a_value_and_a_gradient_use(J):
    def f(x, key):
        y = x * jax.random.normal(key)
        return y if y > 0 else -y

    with jax.debug_key_reuse(True):
        return J.grad(f)(A, jax.random.key(1))


@SETTINGS()
def float64_between_the_sweeps(J):
    y, pull = J.vjp(jnp.sin, X)
    with jax.enable_x64(True):
        return y, pull(jnp.asarray(Y))


@SETTINGS()
def strict_promotion_of_a_python_float(J):
    with jax.numpy_dtype_promotion("strict"):
        return J.grad(lambda x, w: (x * w * 2.0).sum(), (0, 1))(0.7, jnp.asarray(X, jnp.bfloat16))


EFFECTS = Kind("effects happen once")


def counted(times, where=lambda f: f):
    """A host function of a stopped value or data, and how often it ran."""

    def row(J):
        seen = []

        def host(x):
            seen.append(np.asarray(x))
            return np.asarray(x) * 2

        def ask(x):
            return jax.pure_callback(
                host, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential"
            )

        gradient = where(J, times(ask))
        jax.effects_barrier()
        return gradient, len(seen), seen

    return row


CALLBACKS = {
    "of data": lambda ask: lambda x: x * ask(jnp.asarray(B)),
    "of a stopped value": lambda ask: lambda x: x * ask(lax.stop_gradient(x)),
    "of a value that Python looks at": lambda ask: lambda x: x * 2 if ask(lax.stop_gradient(x)) > 0 else x,
    "of a value made of it that Python looks at": lambda ask: (
        lambda x: x * 2 if x * ask(lax.stop_gradient(x)) > 0 else x
    ),
    "in a custom rule": lambda ask: vjp_of(ask, lambda x: (ask(x), None), lambda _, g: (2 * g,)),
    "in a custom rule that Python looks at": lambda ask: (lambda f: lambda x: f(x) * 3 if f(x) > 0 else f(x))(
        vjp_of(ask, lambda x: (ask(x), None), lambda _, g: (2 * g,))
    ),
}
for _name, _times in CALLBACKS.items():
    EFFECTS.add(f"{_name}, grad", counted(_times, lambda J, f: J.grad(f)(A)))
    EFFECTS.add(f"{_name}, value_and_grad", counted(_times, lambda J, f: J.value_and_grad(f)(A)))
    if "Python" not in _name:
        EFFECTS.add(f"{_name}, jit outside", counted(_times, lambda J, f: jax.jit(J.grad(f))(A)))
        EFFECTS.add(f"{_name}, jit inside", counted(_times, lambda J, f: J.value_and_grad(jax.jit(f))(A)))


@EFFECTS()
def prints(J):
    def f(x):
        jax.debug.print("x = {x}", x=x)
        y = jnp.sin(x)
        jax.debug.print("y > 0: {y}", y=y > 0)
        return y if y > 0 else -y

    with contextlib.redirect_stdout(io.StringIO()) as out:
        gradient = J.grad(f)(A)
        jax.effects_barrier()
    return gradient, out.getvalue()


@EFFECTS()
def prints_in_a_loop(J):
    def f(x):
        def body(i, c):
            jax.debug.print("{i}", i=i, ordered=True)
            return c * x

        return lax.fori_loop(0, 3, body, x)

    with contextlib.redirect_stdout(io.StringIO()) as out:
        gradient = J.grad(f)(A)
        jax.effects_barrier()
    return gradient, out.getvalue()


@EFFECTS()
def prints_under_jit(J):
    def f(x):
        jax.debug.print("x = {x}", x=x)
        return jnp.sin(x)

    with contextlib.redirect_stdout(io.StringIO()) as out:
        gradient = jax.jit(J.grad(f))(A), J.grad(jax.jit(f))(A)
        jax.effects_barrier()
    return gradient, out.getvalue()


@EFFECTS()
def prints_of_a_backward_rule(J):
    def backward(x, g):
        jax.debug.print("g = {g}", g=g)
        return (g * jnp.cos(x),)

    f = vjp_of(jnp.sin, lambda x: (jnp.sin(x), x), backward)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        gradient = J.grad(lambda x: f(x) * 2)(A)
        jax.effects_barrier()
    return gradient, out.getvalue()


@EFFECTS()
def ordered_callbacks(J):
    seen = []

    def note(x):
        seen.append(float(x))
        return np.float32(x)

    def f(x):
        for k in range(3):
            jax.experimental.io_callback(
                note, jax.ShapeDtypeStruct((), np.float32), lax.stop_gradient(x) + k, ordered=True
            )
        return x**2

    gradient = J.grad(f)(A)
    jax.effects_barrier()
    return gradient, seen


@EFFECTS()
def python_runs_once(J):
    seen = []

    def f(x):
        seen.append("f")
        y = x * 2 if x > 0 else x
        seen.append("y")
        return y

    J.grad(f)(A), J.value_and_grad(f)(A), J.vjp(f, A)[1](ONE), J.jacobian(f)(A), J.jacobian(f)(X[0])
    return seen


@EFFECTS()
def attributes_that_are_set(J):
    class Net:
        steps = 0
        mean = None

        def __call__(self, x, y):
            self.steps += 1
            self.mean = y.mean()
            return (x * y).sum()

    net = Net()
    gradient = J.grad(net)(X, jnp.asarray(Y))
    return gradient, net.steps, net.mean


@EFFECTS()
def a_list_that_is_passed(J):
    history = []
    gradient = J.grad(lambda x, history: (history.append(len(history)), (x**2).sum())[1])(X, history)
    return gradient, history


@EFFECTS()
def a_numpy_array_that_is_filled(J):
    store = np.zeros(3)

    def f(x):
        store[:] = np.asarray(x > 0)
        return (x**2).sum()

    return J.grad(f)(X), store


def counting(J, use, make):
    """How often the parts of a custom rule run."""
    calls = []

    def count(name, f):
        def counted(*args):
            calls.append(name)
            return f(*args)

        return counted

    gradient = use(J, make(count))
    return gradient, calls


RULES = {
    "custom_jvp": lambda count: jvp_of(
        count("primal", lambda x: jnp.sin(x)), count("rule", lambda p, t: (jnp.sin(p[0]), 3 * t[0]))
    ),
    "custom_vjp": lambda count: vjp_of(
        count("primal", lambda x: jnp.sin(x)),
        count("forward", lambda x: (jnp.sin(x), x)),
        count("backward", lambda x, g: (3 * g,)),
    ),
}
CALLS = {
    "grad": lambda J, f: J.grad(f)(A),
    "value_and_grad": lambda J, f: J.value_and_grad(lambda x: f(x) * 2)(A),
    "a value that Python looks at": lambda J, f: J.grad(lambda x: (lambda y: y if y > 0 else -y)(f(x)))(A),
    "data": lambda J, f: J.grad(lambda x: x * f(B))(A),
    "data and the argument": lambda J, f: J.grad(lambda x: f(x) * f(B))(A),
    "a pullback twice": lambda J, f: (lambda pull: (pull(ONE), pull(B)))(J.vjp(f, A)[1]),
    "a jacobian": lambda J, f: J.jacobian(lambda x: jnp.stack([f(x[0]), x[1]]))(X),
    "jit outside": lambda J, f: jax.jit(J.grad(f))(A),
    "vmap outside": lambda J, f: jax.vmap(J.grad(f))(X),
}
for _rule, _make in RULES.items():
    for _name, _use in CALLS.items():
        EFFECTS.add(f"calls of {_rule}, {_name}", lambda J, use=_use, make=_make: counting(J, use, make))
