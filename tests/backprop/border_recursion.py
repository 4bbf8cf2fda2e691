"""What a user's own rule calls: its own function, and others that call it."""

# ruff: noqa: N803
# J is a library that differentiates.

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.backprop.border import Kind, jvp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])

OWN = Kind("a rule that calls its own function")


def linear(f):
    """A linear function that is its own tangent rule."""
    g = jax.custom_jvp(f)
    g.defjvp(lambda p, t: (g(*p), g(*t)))
    return g


def recursive_exp():
    f = jax.custom_jvp(jnp.exp)
    f.defjvp(lambda p, t: (f(p[0]), f(p[0]) * t[0]))
    return f


def recursive_exp_vjp():
    f = jax.custom_vjp(jnp.exp)
    f.defvjp(lambda x: (f(x), x), lambda x, g: (f(x) * g,))
    return f


def self_adjoint():
    f = jax.custom_vjp(lambda x: 3 * x)
    f.defvjp(lambda x: (f(x), None), lambda _, g: (f(g),))
    return f


def sine_and_cosine():
    sin, cos = jax.custom_jvp(jnp.sin), jax.custom_jvp(jnp.cos)
    sin.defjvp(lambda p, t: (sin(p[0]), cos(p[0]) * t[0]))
    cos.defjvp(lambda p, t: (cos(p[0]), -sin(p[0]) * t[0]))
    return lambda x: sin(x) * cos(2 * x)


def sine_and_cosine_vjp():
    sin, cos = jax.custom_vjp(jnp.sin), jax.custom_vjp(jnp.cos)
    sin.defvjp(lambda x: (sin(x), x), lambda x, g: (g * cos(x),))
    cos.defvjp(lambda x: (cos(x), x), lambda x, g: (-g * sin(x),))
    return lambda x: sin(x) * cos(2 * x)


def power():
    def rule(n, primals, tangents):
        (x,), (t,) = primals, tangents
        return f(n, x), (n * f(n - 1, x) * t if n else jnp.zeros_like(t))

    f = jvp_of(lambda n, x: x**n, rule, nondiff_argnums=(0,))
    return functools.partial(f, 3)


OWN.around("a linear tangent", lambda: linear(jnp.negative))
OWN.around("exp", recursive_exp)
OWN.around("exp by a backward rule", recursive_exp_vjp)
OWN.around("sine and cosine", sine_and_cosine)
OWN.around("a power of one less", power)

EAGER_AND_JITTED = {
    "a self-adjoint function": self_adjoint,
    "sine and cosine by backward rules": sine_and_cosine_vjp,
    "a jitted linear tangent": lambda: linear(jax.jit(lambda x: 3 * x)),
    "a checkpointed linear tangent": lambda: linear(jax.checkpoint(lambda x: 3 * x)),
}
for _name, _make in EAGER_AND_JITTED.items():
    OWN.add(
        _name,
        lambda J, make=_make: [
            J.grad(make())(0.7),
            jax.jit(J.grad(make()))(0.7),
            J.grad(jax.jit(make()))(0.7),
        ],
    )


@OWN()
def minus_one(J):
    f = jax.custom_jvp(lambda x: -x)
    f.defjvp(lambda p, t: (f(*p), f(*t)))
    return J.grad(f)(1.0)


@OWN()
def three_times(J):
    f = recursive_exp()
    return J.grad(J.grad(J.grad(lambda x: f(2 * x))))(0.3)


@OWN()
def the_hessian(J):
    f = recursive_exp()
    return J.hessian(lambda x: f(x).prod())(X)


@OWN()
def of_two_arguments(J):
    f = linear(lambda x, y: x - 2 * y)
    return J.grad(lambda x, y: (f(x, y) ** 2).sum(), (0, 1))(X, Y), J.grad(lambda x: f(x, 3.0))(1.0)


@OWN()
def of_a_tree(J):
    f = linear(lambda p: {"c": p["a"] * 2 + p["b"]})
    return J.grad(lambda p: (f(p)["c"] ** 2).sum())({"a": X, "b": Y})


@OWN()
def of_a_sum_under_jit(J):
    f = linear(jax.jit(lambda x: jnp.cumsum(x)))
    return J.grad(lambda x: (f(x) ** 2).sum())(X), jax.jit(J.grad(lambda x: (f(x) ** 2).sum()))(X)


@OWN()
def of_a_complex_number(J):
    f = linear(jnp.conj)
    return J.grad(lambda z: (f(z) * 1j * z + f(z)).real)(jnp.complex64(1 + 2j))


@OWN()
def with_symbolic_zeros(J):
    f = jax.custom_jvp(lambda x, y: x - y)

    def rule(primals, tangents):
        zero = jax.custom_derivatives.SymbolicZero
        return f(*primals), f(*(jnp.zeros(t.shape, t.dtype) if isinstance(t, zero) else t for t in tangents))

    f.defjvp(rule, symbolic_zeros=True)
    return J.grad(f, (0, 1))(1.0, 2.0), J.grad(lambda x: f(x, 2.0))(1.0)


@OWN()
def by_the_library_itself(J):
    f = jax.custom_vjp(jnp.exp)
    f.defvjp(lambda x: (f(x), x), lambda x, g: (g * J.vjp(jnp.exp, x)[1](jnp.ones_like(x))[0],))
    return J.grad(lambda x: f(x).sum())(X)


@OWN()
def whose_factor_is_a_gradient(J):
    f = jax.custom_jvp(lambda x: jnp.sin(x) * x)
    f.defjvp(lambda p, t: (f(*p), t[0] * J.grad(lambda x: jnp.sin(x) * x)(p[0])))
    return J.grad(f)(0.7), J.grad(J.grad(f))(0.7)


@OWN()
def how_often_it_is_called(J):
    calls = []
    f = jax.custom_jvp(jnp.exp)

    def rule(p, t):
        calls.append(1)
        return f(p[0]), f(p[0]) * t[0]

    f.defjvp(rule)
    return J.grad(f)(0.7), len(calls)


@OWN()
def a_depth_that_ends(J):
    f = jax.custom_jvp(lambda x, n: x**n, nondiff_argnums=(1,))
    f.defjvp(lambda n, p, t: (f(p[0], n), t[0] * (n * f(p[0], n - 1) if n > 1 else 1.0)))
    return [J.grad(lambda x, n=n: f(x, n))(1.5) for n in (1, 2, 5)]


@OWN()
def a_depth_that_ends_by_value(J):
    @jax.custom_vjp
    def f(x):
        return f(x / 2) * 2 if x > 1 else x**2

    f.defvjp(lambda x: (f(x), x), lambda x, g: (J.grad(f)(x / 2) * g if x > 1 else 2 * x * g,))
    return J.grad(f)(0.7), J.grad(f)(5.0)
