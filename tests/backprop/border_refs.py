"""Mutable arrays: a `jax.new_ref` that is made and read inside the function is a value with a history."""

# ruff: noqa: N803
# J is a library that differentiates.

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.backprop import border_history as functions
from tests.backprop.border import JAX, OLDER, Kind
from tests.backprop.border_history import PLAIN, USES

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])

REFS = Kind("gradients through local refs")


W = np.float32(1.3)

PLACES = {
    "jit outside": lambda J, f: jax.jit(J.value_and_grad(f))(W),
    "jit inside": lambda J, f: J.value_and_grad(jax.jit(f))(W),
    "vmap outside": lambda J, f: jax.vmap(J.value_and_grad(f))(X),
    "twice": lambda J, f: J.value_and_grad(lambda w: w * J.grad(f)(w))(W),
}

REFUSED = {"vmap outside": {functions.in_one_branch: NotImplementedError}}
if OLDER:  # AttributeErrors of JAX itself, where data are written to a ref
    refusing = dict.fromkeys((functions.overwritten_by_data, functions.a_ref_of_data), AttributeError)
    REFUSED |= dict.fromkeys(("eager", "jit outside", "jit inside"), refusing)
    REFUSED["vmap outside"] |= refusing | {functions.a_parameter_update: AttributeError}
    REFUSED["twice"] = {f: AttributeError for f in PLAIN if f is not functions.in_one_branch}


def add(f, place, use):
    refused = REFUSED.get(place, {}).get(f)
    REFS.add(
        f"{f.__name__.replace('_', ' ')}, {place}",
        lambda J: use(J, f),
        raises=refused,
        right=refused and (lambda: use(JAX, PLAIN[f])),
    )


for _i, _f in enumerate(USES):
    add(_f, "eager", lambda J, f: J.value_and_grad(f)(W))
    for _k, (_place, _use) in enumerate(PLACES.items()):
        if (_i + _k) % 2:  # each function in two of them
            add(_f, _place, _use)


@REFS()
def the_jacobian(J):
    def f(x):
        r = jax.new_ref(jnp.zeros(3))
        r[1:] = x[:2] * x[2]
        return r[...] * x

    return J.jacobian(f)(X), J.vjp(f, X)[1](Y)


@REFS()
def python_looks_at_it(J):
    def f(w):
        r = jax.new_ref(w)
        r[...] = r[...] * 2
        return r[...] ** 2 if r[...] > 1 else r[...]

    return J.grad(f)(W), J.grad(f)(np.float32(0.1))


@REFS()
def python_looks_at_a_ref_of_data(J):
    def f(x, y):
        r = jax.new_ref(y)
        r[...] = r[...] * 2
        return (x**2).sum() if bool((r[...] > 0).any()) else x.sum()

    return J.grad(f)(X, jnp.asarray(Y))


@REFS()
def a_ref_in_aux(J):
    def f(w):
        r = jax.new_ref(w)
        r[...] = r[...] * 2
        return r[...] ** 2, jax.freeze(r)

    return J.grad(f, has_aux=True)(W)


@REFS(raises=AttributeError if OLDER else None, right=lambda: jnp.float32(W))
def a_stopped_value(J):
    def f(w):
        r = jax.new_ref(0.0)
        r[...] = lax.stop_gradient(w)
        return r[...] * w

    return J.grad(f)(W)


def checkpointed(f):
    return jax.checkpoint(lambda w: jnp.sin(f(w)))


@REFS(
    raises=Exception, right=lambda: JAX.grad(lambda w: jnp.sin((w * 2) ** 2))(W), ulps=64
)  # of a large angle
def in_a_checkpointed_function(J):
    return J.grad(checkpointed(functions.the_example))(W)


@REFS(raises=Exception)
def written_by_rows_of_a_vmap(J):
    def f(w):
        r = jax.new_ref(0.0)

        def write(x):
            r[...] = x
            return x

        jax.vmap(write)(X)
        return r[...] * w

    return J.grad(f)(W)


@REFS(raises=TypeError)
def a_ref_as_the_result(J):
    return J.grad(lambda w: jax.new_ref(w))(W)


@REFS()
def a_ref_from_outside_that_is_read(J):
    r = jax.new_ref(jnp.float32(3))
    return J.grad(lambda w: r[...] * w**2)(W), r[...]


@REFS()
def a_ref_from_outside_that_data_are_written_to(J):
    r = jax.new_ref(jnp.float32(3))

    def f(w):
        r[...] = jnp.float32(4)
        return r[...] * w**2

    return J.grad(f)(W), r[...]


@REFS()
def a_ref_from_outside_that_counts(J):
    calls = jax.new_ref(jnp.int32(0))

    def f(w):
        calls[...] += 1
        return w**2

    return J.grad(f)(W), J.value_and_grad(f)(W), calls[...]


@REFS(raises=Exception)
def a_ref_from_outside_that_the_argument_is_written_to(J):
    r = jax.new_ref(jnp.float32(3))

    def f(w):
        r[...] = w
        return w**2

    return J.grad(f)(W)


@REFS(raises=Exception)
def a_ref_of_an_outer_gradient_that_the_argument_is_written_to(J):
    def outer(w):
        r = jax.new_ref(w)

        def inner(x):
            r[...] = x * 2
            return r[...] ** 2

        return J.grad(inner)(3.0)

    return J.grad(outer)(W)


@REFS()
def a_ref_as_data_in_the_arguments(J):
    r = jax.new_ref(jnp.asarray(Y))
    return J.grad(lambda x, r: (x * r[...]).sum())(X, r)


@REFS(raises=Exception)
def a_ref_that_is_differentiated(J):
    return J.grad(lambda r: r[...] ** 2)(jax.new_ref(jnp.float32(3)))


@REFS()
def plumbed_out_of_the_gradient(J):
    """What flows back through a value, put aside by a custom rule: JAX's own recipe for logging gradients."""
    r = jax.new_ref(jnp.zeros(3))

    @jax.custom_vjp
    def note(x):
        return x

    def backward(_, g):
        r[...] = g
        return (g,)

    note.defvjp(lambda x: (x, None), backward)
    return J.grad(lambda x: (note(x * 2) ** 2).sum())(X), r[...]


@REFS(where=hasattr(jax, "empty_ref"))
def an_empty_ref_under_jit(J):
    def f(w):
        r = jax.empty_ref(jax.ShapeDtypeStruct((), jnp.float32))
        r[...] = w**2
        return r[...]

    return jax.jit(J.grad(f))(W)


def counting(place):
    """sin, which counts how often it runs."""

    def count(J):
        calls = jax.new_ref(jnp.int32(0))

        def sin(x):
            calls[...] += 1
            return jnp.sin(x)

        return J.value_and_grad(place(sin))(W), calls[...]

    return count


def in_steps(f):
    return lambda w: lax.scan(lambda c, _: (f(c), None), w, length=3)[0]


REFS.add("a counter in a jitted function", counting(jax.jit))
REFS.add("a counter in a scan", counting(in_steps))
REFS.add("a counter in a fori_loop", counting(lambda f: lambda w: lax.fori_loop(0, 3, lambda i, c: f(c), w)))
REFS.add("a counter in a branch", counting(lambda f: lambda w: lax.cond(w > 0, f, lambda w: w, w)))


@jax.custom_vjp
def keeping_its_gradient(kept, x):
    return x


keeping_its_gradient.defvjp(lambda kept, x: (x, kept), lambda kept, x_bar: (None, _written(kept, x_bar)))


def _written(kept, x_bar):
    kept[...] = x_bar
    return x_bar


def watched(kept, x):
    return jnp.sin(keeping_its_gradient(kept, jnp.sin(x)))


WATCHED = {
    "as it stands": watched,
    "jitted": jax.jit(watched),
    "checkpointed": jax.checkpoint(watched),
    "in a scan": lambda kept, x: lax.scan(lambda c, _: (watched(kept, c), None), x, length=2)[0],
    "in a checkpoint in a scan": lambda kept, x: lax.scan(
        lambda c, _: (jax.checkpoint(watched)(kept, c), None), x, length=2
    )[0],
}


def gradient_of(f):
    def run(J):
        kept = jax.new_ref(jnp.float32(0))
        return J.value_and_grad(f, argnums=1)(kept, W), kept[...]

    return run


for _name, _f in WATCHED.items():
    REFS.add(f"a ref that a rule writes the gradient to, {_name}", gradient_of(_f))
