"""Reverse mode among JAX's other transformations, and what a differentiated value answers to Python."""

# ruff: noqa: N803
# J is a library that differentiates.

import contextlib
import copy
import operator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.ode import odeint

from tests.backprop.border import Kind, jvp_of, vjp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])
A, B = np.float32([0.3, 0.7])
ONE = np.float32(1)

MIXED = Kind("among other transformations")


def wave(x):
    """A loss with a custom rule, a branch, a loop and an index in it."""
    y = jax.nn.relu(x) * jnp.sin(x) + jax.nn.softplus(x)
    y = lax.cond(y > 0, jnp.exp, jnp.cos, y)
    return lax.fori_loop(0, 2, lambda _, c: c * jnp.cos(y), y)


def waves(x):
    return jax.vmap(wave)(x).sum() * x[1]


def own_rule():
    return jvp_of(lambda x: jnp.sin(x), lambda p, t: (jnp.sin(p[0]), 3 * t[0] * jnp.cos(p[0])))


def own_backward():
    return vjp_of(lambda x: jnp.sin(x), lambda x: (jnp.sin(x), x), lambda x, g: (3 * g * jnp.cos(x),))


TRANSFORMS = {
    "JAX's jvp outside": lambda J: jax.jvp(J.grad(wave), (A,), (ONE,)),
    "JAX's jvp inside": lambda J: J.grad(lambda x: jax.jvp(wave, (x,), (x * 2,))[1])(A),
    "JAX's jvp of a constant direction": lambda J: J.grad(lambda x: jax.jvp(waves, (x,), (Y,))[1])(X),
    "JAX's linearize outside": lambda J: jax.linearize(J.grad(wave), A)[1](ONE),
    "JAX's linearize inside": lambda J: J.grad(lambda x: jax.linearize(wave, x)[1](x))(A),
    "JAX's vjp inside": lambda J: J.grad(lambda x: jax.vjp(wave, x)[1](x)[0])(A),
    "JAX's vjp outside": lambda J: jax.vjp(J.grad(wave), A)[1](ONE),
    "JAX's grad inside": lambda J: J.grad(lambda x: x * jax.grad(wave)(x))(A),
    "JAX's grad outside": lambda J: jax.grad(lambda x: x * J.grad(wave)(x))(A),
    "JAX's grad outside and inside": lambda J: jax.grad(lambda x: J.grad(lambda x: jax.grad(wave)(x) * x)(x))(
        A
    ),
    "JAX's jacfwd outside": lambda J: jax.jacfwd(J.grad(waves))(X),
    "JAX's jacfwd inside": lambda J: J.grad(lambda x: jax.jacfwd(waves)(x)[0])(X),
    "JAX's jacrev outside": lambda J: jax.jacrev(J.grad(waves))(X),
    "JAX's hessian inside": lambda J: J.grad(lambda x: jax.hessian(waves)(x).sum())(X),
    "JAX's hessian outside": lambda J: jax.hessian(lambda x: J.grad(waves)(x)[0])(X),
    "JAX's linear_transpose inside": lambda J: J.grad(
        lambda x: (jax.linear_transpose(lambda y: y * x, Y)(Y)[0] ** 2).sum()
    )(X),
    "a Hessian times a vector": lambda J: jax.jvp(J.grad(waves), (X,), (Y,))[1],
    "a Hessian times a vector, backward": lambda J: J.grad(lambda x: (J.grad(waves)(x) * Y).sum())(X),
    "a tangent rule under JAX's jvp": lambda J: jax.jvp(J.grad(own_rule()), (A,), (ONE,)),
    "a tangent rule around JAX's jvp": lambda J: J.grad(lambda x: jax.jvp(own_rule(), (x,), (ONE,))[1])(A),
    "a tangent rule around JAX's grad": lambda J: J.grad(lambda x: jax.grad(own_rule())(x))(A),
    "a backward rule around JAX's grad": lambda J: J.grad(lambda x: jax.grad(own_backward())(x))(A),
    "a backward rule inside JAX's grad": lambda J: jax.grad(lambda x: J.grad(own_backward())(x))(A),
    "data in JAX's jvp": lambda J: J.grad(lambda x, y: jax.jvp(lambda y: (x * y**2).sum(), (y,), (y,))[1])(
        X, Y
    ),
    "perturbations that must not be confused": lambda J: J.grad(
        lambda x: (
            x * J.grad(lambda y: x + y)(ONE) + J.grad(lambda y: x * y * J.grad(lambda z: x * y * z)(y))(x)
        )
    )(A),
    "three levels": lambda J: J.grad(lambda x: J.grad(lambda y: J.grad(lambda z: jnp.sin(x * y * z))(x))(B))(
        A
    ),
    "aux of an inner gradient": lambda J: J.grad(
        lambda x: (lambda g, aux: (g * aux, (g, aux)))(*J.grad(lambda z: (z * x, x * z), has_aux=True)(B)),
        has_aux=True,
    )(A),
    "a named axis": lambda J: jax.vmap(
        lambda x: J.grad(lambda x: lax.psum(wave(x), "i") * x)(x), axis_name="i"
    )(X),
    "a named axis inside": lambda J: J.grad(
        lambda x: jax.vmap(lambda x: x * lax.pmean(x, "i") + lax.axis_index("i"), axis_name="i")(x).sum()
    )(X),
    "vmap with axes": lambda J: jax.vmap(J.grad(lambda p, x: (p["a"] * x).sum()), ({"a": 1}, None), 1)(
        {"a": np.outer(X, Y)}, X
    ),
    "vmap of vmap": lambda J: jax.vmap(jax.vmap(J.grad(wave)))(np.outer(X, Y)),
    "jit of vmap": lambda J: jax.jit(jax.vmap(J.value_and_grad(wave)))(X),
    "vmap of jit": lambda J: jax.vmap(jax.jit(J.value_and_grad(wave)))(X),
    "jit of grad of jit of grad": lambda J: jax.jit(J.grad(jax.jit(lambda x: J.grad(jax.jit(wave))(x))))(A),
    "a map": lambda J: J.grad(lambda x: lax.map(wave, x).sum())(X),
    "a map of gradients": lambda J: lax.map(J.grad(wave), X),
    "associative_scan": lambda J: J.grad(lambda x: lax.associative_scan(jnp.multiply, x)[-1])(X),
    "lowered and compiled": lambda J: jax.jit(J.grad(wave)).lower(A).compile()(A),
    "eval_shape": lambda J: str(jax.eval_shape(J.value_and_grad(wave), A)),
    "eval_shape inside": lambda J: J.grad(lambda x: x * jax.eval_shape(jnp.outer, Y, Y).size)(A),
    "make_jaxpr inside": lambda J: J.grad(lambda x: x * len(jax.make_jaxpr(jnp.sin)(x).eqns))(A),
    "static arguments": lambda J: jax.jit(J.grad(lambda x, n: x**n), static_argnums=1)(A, 3),
    "a jitted function that closes over the argument": lambda J: J.grad(
        lambda x: jax.jit(lambda y: x * y)(B) * x
    )(A),
    "a scan that closes over the argument": lambda J: J.grad(
        lambda x: lax.scan(lambda c, y: (c * x + y, None), B, Y)[0]
    )(A),
    "a branch that closes over the argument": lambda J: J.grad(
        lambda x: lax.cond(x > 0, lambda: x * 2, lambda: -x)
    )(A),
    "a switch": lambda J: J.grad(lambda x: lax.switch(2, [jnp.sin, jnp.cos, jnp.exp], x))(A),
    "a while loop over data": lambda J: J.grad(
        lambda x, y: x * lax.while_loop(lambda c: c < 5, lambda c: c * 2, y)
    )(A, B),
    "a while loop over a stopped value": lambda J: J.grad(
        lambda x: x * lax.while_loop(lambda c: c < 5, lambda c: c * 2, lax.stop_gradient(x))
    )(A),
    "a while loop that counts": lambda J: J.grad(
        lambda x: x[lax.while_loop(lambda i: i < 2, lambda i: i + 1, 0)] ** 2
    )(X),
    "odeint by the start": lambda J: J.grad(lambda y: odeint(decay, y, T, A)[-1])(B),
    "odeint by its parameter": lambda J: J.grad(lambda k: odeint(decay, B, T, k).sum())(A),
    "odeint by the times": lambda J: J.grad(lambda t: odeint(decay, B, t, A).sum())(T),
    "custom_root": lambda J: J.grad(
        lambda a: lax.custom_root(lambda x: x**2 - a, ONE, newton, lambda f, b: b / f(ONE))
    )(B),
    "custom_root by bisection": lambda J: J.grad(by_bisection)(B),
    "custom_root by bisection, twice": lambda J: J.grad(J.grad(by_bisection))(B),
    "custom_root by bisection, jitted": lambda J: jax.jit(J.value_and_grad(by_bisection))(B),
    "custom_root by bisection, of many": lambda J: jax.vmap(J.grad(by_bisection))(np.abs(X)),
    "custom_linear_solve": lambda J: J.grad(
        lambda a: lax.custom_linear_solve(
            lambda x: a * x, X, lambda f, b: b / f(np.ones(3, np.float32)), symmetric=True
        ).sum()
    )(B),
    "vectorize": lambda J: J.grad(lambda x: jnp.vectorize(wave)(x).sum())(X),
    "piecewise": lambda J: J.grad(lambda x: jnp.piecewise(x, [x < 0], [jnp.sin, jnp.cos]).sum())(X),
    "select": lambda J: J.grad(lambda x: jnp.select([x > 1, x > 0], [x**2, x], 0.0).sum())(X),
    "apply_along_axis": lambda J: J.grad(lambda x: jnp.apply_along_axis(jnp.cumsum, 0, x).sum())(X),
    "a named scope": lambda J: J.grad(jax.named_call(wave, name="wave"))(A),
}
ROUNDED = {  # in units of the last place: an adaptive solver's steps add up rounding
    "odeint by the start": 64,
    "odeint by its parameter": 64,
    "odeint by the times": 64,
    "JAX's hessian inside": 64,  # of third derivatives, which are sums of many terms
}
for _name, _run in TRANSFORMS.items():
    MIXED.add(_name, _run, **({"ulps": ROUNDED[_name]} if _name in ROUNDED else {}))

T = np.float32([0, 0.5, 1])


def decay(y, t, k):
    return -k * y * jnp.cos(t)


def newton(f, x):
    return lax.fori_loop(0, 8, lambda _, x: x - f(x) / jax.grad(f)(x), x)


def by_bisection(a):
    """√a, whose program has the derivative 0 at each step."""

    def halved(f, x):
        ends = jnp.zeros_like(x), jnp.ones_like(x) * 4
        middle = lambda ends: (ends[0] + ends[1]) / 2  # noqa: E731

        def step(_, ends):
            x = middle(ends)
            return jnp.where(f(x) > 0, ends[0], x), jnp.where(f(x) > 0, x, ends[1])

        return middle(lax.fori_loop(0, 30, step, ends))

    return lax.custom_root(lambda x: x**2 - a, ONE, halved, lambda f, b: b / f(ONE))


@MIXED()
def a_backward_rule_under_jvp(J):
    return jax.jvp(J.grad(own_backward()), (A,), (ONE,))


@MIXED()
def a_state_that_an_error_leaves(J):
    def bad(x):
        jnp.sin(x)
        raise KeyError

    for run in (lambda: J.grad(bad)(A), lambda: J.vjp(bad, A), lambda: jax.jit(J.grad(bad))(A)):
        with contextlib.suppress(KeyError):
            run()
    return J.grad(wave)(A), jnp.sin(A), jax.jit(J.grad(wave))(A)


@MIXED()
def an_error_in_an_inner_gradient_that_is_caught(J):
    def f(x):
        try:
            return J.grad(lambda z: {}[z.shape])(x)
        except KeyError:
            return x * 2

    return J.grad(f)(A)


@MIXED()
def a_generator(J):
    def terms(x):
        for k in range(3):
            yield x**k * jnp.sin(x)

    return J.grad(lambda x: sum(terms(x)))(A)


@MIXED()
def a_long_program(J):
    def f(x):
        for k in range(300):
            x = jnp.sin(x) + k % 2
        return x

    return J.grad(f)(A)


@MIXED()
def a_long_loop_by_values(J):
    def f(x):
        n = 0
        while x < 100 and n < 300:
            x, n = x * jnp.float32(1.05) if x > 2 else x + 1, n + 1
        return x

    return J.value_and_grad(f)(A)


@MIXED()
def a_pullback_within_a_gradient(J):
    def f(x):
        y, pull = J.vjp(lambda z: jnp.sin(z) * x, x)
        return pull(y)[0]

    return J.grad(f)(A), jax.jit(J.grad(f))(A), jax.vmap(J.grad(f))(X)


@MIXED()
def a_pullback_that_outlives(J):
    pulls = []

    def f(x):
        y, pull = J.vjp(jnp.sin, lax.stop_gradient(x))
        pulls.append(pull)
        return x * y

    return J.grad(f)(A), pulls[0](ONE)


@MIXED(raises=jax.errors.UnexpectedTracerError)
def a_value_that_outlives_under_jit(J):
    kept = []
    jax.jit(J.grad(lambda x: (kept.append(x * 2), x)[1]))(A)
    return kept[0] + 1


@MIXED()
def shard_map(J):
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.P("i")
    f = jax.shard_map(lambda x: jnp.sin(x) * lax.psum(x.sum(), "i"), mesh=mesh, in_specs=spec, out_specs=spec)
    g = jax.shard_map(lambda x: J.grad(lambda x: (x**3).sum())(x), mesh=mesh, in_specs=spec, out_specs=spec)
    return J.grad(lambda x: f(x).sum())(jnp.asarray(X)), g(jnp.asarray(X))


ANSWERS = Kind("what a differentiated value answers")


def told(question):
    """What Python learns of a value inside, beside the gradient of a sum."""
    return lambda J: J.grad(lambda x: (x.sum(), question(x)), has_aux=True)(jnp.asarray(X))


QUESTIONS = {
    "shape": lambda x: (x.shape, x.ndim, x.size, len(x), x.nbytes, x.itemsize),
    "dtype": lambda x: (str(x.dtype), x.weak_type, str(jnp.result_type(x)), str(np.result_type(x.dtype))),
    "NumPy's shape": lambda x: (np.shape(x), np.ndim(x), np.size(x)),
    "typeof": lambda x: str(jax.typeof(x)),
    "instances": lambda x: (
        isinstance(x, jax.Array),
        isinstance(x, jax.core.Tracer),
        isinstance(x, np.ndarray),
    ),
    "an instance of floats": lambda x: (isinstance(x, float), jnp.issubdtype(x.dtype, jnp.floating)),
    "scalars": lambda x: (jnp.isscalar(x[0]), np.isscalar(x[0]), jnp.ndim(x[0])),
    "identity": lambda x: (x is x, x.astype(x.dtype) is x, jnp.asarray(x) is x),
    "truth of comparisons": lambda x: (bool((x > 0).any()), bool(jnp.all(x < 2)), bool(x[0] == x[0])),
    "index": lambda x: (operator.index(jnp.argmax(x)), [1, 2, 3][jnp.argmin(x)], list(range(jnp.argmax(x)))),
    "int": lambda x: (int(x[2]), int(jnp.sum(x > 0)), round(float(lax.stop_gradient(x)[0]), 3)),
    "item": lambda x: ((x > 0).sum().item(), lax.stop_gradient(x)[1].item()),
    "copies": lambda x: (copy.copy(x).shape, copy.deepcopy(x).shape, x.copy().shape),
    "iteration": lambda x: (sum(1 for _ in x), [v.shape for v in x], len(list(reversed(x)))),
    "unpacking": lambda x: [v.shape for v in (lambda a, *rest: (a, *rest))(*x)],
    "attributes": lambda x: [
        hasattr(x, a) for a in ("at", "T", "real", "imag", "sharding", "devices", "aval")
    ],
    "no attributes": lambda x: [hasattr(x, a) for a in ("numpy", "detach", "grad", "requires_grad")],
    "zip": lambda x: [bool(a > b) for a, b in zip(x, x[::-1], strict=True)],
    "min and max": lambda x: (bool(min(x) < 0), bool(max(x) > 1)),
    "a set of comparisons": lambda x: sorted({bool(v > 0) for v in x}),
    "a string of a comparison": lambda x: f"{(x > 0)!r} {(x > 0)!s}",
    "tree": lambda x: (len(jax.tree.leaves({"a": x, "b": [x]})), jax.tree_util.all_leaves([x])),
    "equality by NumPy": lambda x: bool(np.array_equal(lax.stop_gradient(x), X)),
    "closeness": lambda x: bool(jnp.allclose(x, X)),
    "finiteness": lambda x: bool(jnp.isfinite(x).all()) and not bool(jnp.isnan(x).any()),
    "NumPy of a comparison": lambda x: np.asarray(x > 0),
    "NumPy's functions of a comparison": lambda x: (
        np.sum(np.asarray(x > 0)),
        np.flatnonzero(x > 0).tolist(),
    ),
    "NumPy of an argsort": lambda x: np.array(jnp.argsort(x)),
    "an array of stopped values": lambda x: jnp.array([lax.stop_gradient(v) for v in x]),
    "jnp.nonzero": lambda x: jnp.nonzero(x > 0)[0],
    "jnp.unique of signs": lambda x: jnp.unique(jnp.sign(x)),
    "a rounded value": lambda x: (jnp.round(x), jnp.floor(x), x // 1),
    "a remainder by Python": lambda x: bool(x[0] % 2 > 0),
}
for _name, _question in QUESTIONS.items():
    ANSWERS.add(_name, told(_question))

REFUSED = {
    "an assignment": (lambda x: operator.setitem(x, 0, 1.0), TypeError),
    "a hash": (lambda x: hash(x), TypeError),
    "NumPy's array": (lambda x: np.asarray(x), TypeError),
    "NumPy's function": (lambda x: np.sin(x), TypeError),
    "a float": (lambda x: float(x[0]), TypeError),
    "a complex number": (lambda x: complex(x[0]), TypeError),
    "a list": (lambda x: x.tolist(), TypeError),
    "an index out of a float": (lambda x: [1, 2, 3][x[0]], TypeError),
    "the truth of an array": (lambda x: bool(x), ValueError),
    "an attribute": (lambda x: x.numpy(), AttributeError),
    "a shape that does not fit": (lambda x: x + np.ones(2, np.float32), TypeError),
    "a string": (lambda x: x + "a", TypeError),
    "a list added": (lambda x: operator.add(x, [1.0, 2.0, 3.0]), TypeError),
    "None added": (lambda x: x + None, TypeError),
    "a call": (lambda x: x(), TypeError),
    "a format": (lambda x: f"{x[0]:.3f}", TypeError),
    "an index by a string": (lambda x: x["a"], TypeError),
    "an index by a list": (lambda x: x[[0, 1]], TypeError),
    "iteration over a scalar": (lambda x: list(x[0]), TypeError),
    "the length of a scalar": (lambda x: len(x[0]), TypeError),
}
for _name, (_question, _error) in REFUSED.items():
    ANSWERS.add(f"{_name}, refused", told(_question), raises=_error)
