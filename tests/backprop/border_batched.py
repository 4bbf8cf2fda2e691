"""Other custom functions of JAX: custom_vmap, linear_call, custom_gradient."""

# ruff: noqa: N803
# J is a library that differentiates.

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap, sequential_vmap
from jax.custom_derivatives import linear_call

from tests.backprop.border import Kind, vjp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])

BATCHED = Kind("custom_vmap, linear_call and custom_gradient")


def by_rows():
    """x sin x, but 2 cos x under vmap."""
    f = custom_vmap(lambda x: jnp.sin(x) * x)
    f.def_vmap(lambda size, batched, x: (2 * jnp.cos(x), True))
    return f


def by_rows_of_two():
    """y sin x; under vmap 2 y cos x if y is batched too, else 5 x y."""
    f = custom_vmap(lambda x, y: jnp.sin(x) * y)
    f.def_vmap(lambda size, batched, x, y: (2 * jnp.cos(x) * y if batched[1] else 5 * x * y, True))
    return f


UNDER_VMAP = {
    "vmap inside": lambda J: J.grad(lambda x: jax.vmap(by_rows())(x).sum())(X),
    "jit outside": lambda J: jax.jit(J.grad(lambda x: jax.vmap(by_rows())(x).sum()))(X),
    "jit inside": lambda J: J.grad(jax.jit(lambda x: jax.vmap(by_rows())(x).sum()))(X),
    "a jitted function under vmap": lambda J: J.grad(lambda x: jax.vmap(jax.jit(by_rows()))(x).sum())(X),
    "two arguments": lambda J: J.grad(lambda x, y: jax.vmap(by_rows_of_two())(x, y).sum(), (0, 1))(X, Y),
    "one of two arguments": lambda J: J.grad(
        lambda x, y: jax.vmap(by_rows_of_two(), (0, None))(x, y).sum(), (0, 1)
    )(X, np.float32(2)),
    "data that are batched": lambda J: J.grad(lambda x, y: jax.vmap(by_rows_of_two())(x, y).sum())(X, Y),
    "data": lambda J: J.grad(lambda x, y: (x * by_rows()(y)).sum())(X, Y),
    "data under vmap": lambda J: J.grad(lambda x, y: (x * jax.vmap(by_rows())(y)).sum())(X, Y),
    "in a scan": lambda J: (
        lambda f: J.grad(lambda x: lax.scan(lambda c, _: (jax.vmap(f)(c), None), x, length=2)[0].sum())(X)
    )(by_rows()),
    "twice": lambda J: J.grad(lambda x: (x * J.grad(lambda x: jax.vmap(by_rows())(x).sum())(x)).sum())(X),
    "the jacobian": lambda J: J.jacobian(lambda x: jax.vmap(by_rows())(x))(X),
    "in a custom_vjp": lambda J: J.grad(inside_a_rule())(0.7),
    "in a custom_vjp under vmap": lambda J: J.grad(lambda x: jax.vmap(inside_a_rule())(x).sum())(X),
}
for _name, _run in UNDER_VMAP.items():
    BATCHED.add(f"custom_vmap, {_name}", _run)


def inside_a_rule():
    f = by_rows()
    return vjp_of(f, lambda x: (f(x), x), lambda x, g: (g * f(x),))


def slope(x):
    return jnp.sin(x) + x * jnp.cos(x)


REFUSED = {
    "alone": (lambda J: J.grad(by_rows())(0.7), ValueError, lambda: slope(jnp.asarray(0.7))),
    "alone in a jitted function": (
        lambda J: J.grad(jax.jit(by_rows()))(0.7),
        ValueError,
        lambda: slope(jnp.asarray(0.7)),
    ),
    "vmap outside": (lambda J: jax.vmap(J.grad(by_rows()))(X), ValueError, lambda: slope(X)),
    "one after the other": (
        lambda J: J.grad(sequential_vmap(lambda x: jnp.sin(x) * x))(0.7),
        ValueError,
        lambda: slope(jnp.asarray(0.7)),
    ),
    "one after the other under vmap": (
        lambda J: J.grad(lambda x: jax.vmap(sequential_vmap(lambda x: jnp.sin(x) * x))(x).sum())(X),
        ValueError,
        lambda: slope(X),
    ),
    "without a rule": (
        lambda J: J.grad(lambda x: jax.vmap(custom_vmap(jnp.sin))(x).sum())(X),
        AttributeError,
        None,
    ),
}
for _name, (_run, _error, _right) in REFUSED.items():
    BATCHED.add(f"custom_vmap, {_name}", _run, raises=_error, right=_right)


def thrice(x):
    """3 x, whose transposition says 30."""
    return linear_call(lambda r, x: x * r, lambda r, g: 10 * g * r, 3.0, x)


LINEAR = {
    "eager": lambda J: J.value_and_grad(thrice)(2.0),
    "of a sine": lambda J: J.grad(lambda x: thrice(jnp.sin(x)))(2.0),
    "squared": lambda J: J.grad(lambda x: thrice(x) ** 2)(2.0),
    "jit outside": lambda J: jax.jit(J.grad(thrice))(2.0),
    "jit inside": lambda J: J.grad(jax.jit(thrice))(2.0),
    "scan inside": lambda J: J.grad(lambda x: lax.scan(lambda c, _: (thrice(c), None), x, length=2)[0])(2.0),
    "checkpoint inside": lambda J: J.grad(jax.checkpoint(thrice))(2.0),
    "twice": lambda J: J.grad(lambda x: x * J.grad(lambda x: thrice(x) ** 2)(x))(2.0),
    "on data": lambda J: J.grad(lambda x: x * thrice(2.0))(3.0),
    "of a tree": lambda J: J.grad(
        lambda p: linear_call(
            lambda r, p: p["a"] * r + p["b"], lambda r, g: {"a": 2 * g * r, "b": 3 * g}, 3.0, p
        )
    )({"a": 1.0, "b": 2.0}),
    "of an array": lambda J: J.grad(
        lambda x: linear_call(lambda r, x: x @ r, lambda r, g: g * r * 10, jnp.asarray(Y), x)
    )(X),
    "with numbers beside": lambda J: J.grad(
        lambda x: linear_call(lambda r, x: x * r[0], lambda r, g: g * r[1], (2, 5), x)
    )(2.0),
}
for _name, _run in LINEAR.items():
    BATCHED.add(f"linear_call, {_name}", _run)
for _name, _run in {
    "vmap inside": lambda J: J.grad(lambda x: jax.vmap(thrice)(x).sum())(X),
    "vmap outside": lambda J: jax.vmap(J.grad(thrice))(X),
}.items():
    BATCHED.add(
        f"linear_call, {_name}", _run, raises=NotImplementedError, right=lambda: jnp.full(3, 30, jnp.float32)
    )


@BATCHED(raises=AssertionError, right=lambda: jnp.asarray(2.0))
def linear_call_by_its_residual(J):
    return J.grad(lambda r: linear_call(lambda r, x: x * r, lambda r, g: g * r, r, 2.0))(3.0)


@BATCHED(raises=TypeError)
def linear_call_of_another_structure(J):
    return J.grad(lambda x: linear_call(lambda r, x: x * r, lambda r, g: (g, g), 3.0, x))(2.0)


def ten_squares():
    return jax.custom_gradient(lambda x: (x**2, lambda g: g * x * 20))


BATCHED.around("custom_gradient", ten_squares)


@BATCHED()
def custom_gradient_of_a_tree(J):
    f = jax.custom_gradient(lambda p, x: (p["a"] * x, lambda g: ({"a": 2 * g * x}, 3 * g * p["a"])))
    return J.grad(f, (0, 1))({"a": 2.0}, 3.0), jax.jit(J.grad(f))({"a": 2.0}, 3.0)


@BATCHED()
def custom_gradient_that_looks_at_values(J):
    f = jax.custom_gradient(lambda x: (x**2, lambda g: g * (5.0 if x > 1 else 7.0)))
    return J.grad(f)(2.0), J.grad(f)(0.5)


@BATCHED()
def custom_gradient_with_an_array_that_is_closed_over(J):
    f = jax.custom_gradient(lambda x: ((x * Y).sum(), lambda g: g * jnp.asarray(Y) * 2))
    return J.grad(f)(X), J.grad(lambda x: jax.vmap(f)(x).sum())(np.stack([X, Y]))
