"""Mutable arrays: a `jax.new_ref` that is made and read inside the function is a value with a history."""

# ruff: noqa: N803
# J is a library that differentiates.

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.backprop.border import JAX, OLDER, Kind, jvp_of, vjp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])

REFS = Kind("gradients through local refs")


def the_example(w):
    r = jax.new_ref(0.0)
    r[...] = w * 2
    return r[...] ** 2


def initial_value(w):
    return jax.new_ref(w)[...] ** 2


def elements(w):
    r = jax.new_ref(jnp.zeros(3))
    r[0] = w
    r[1] = w * 2
    return (r[...] ** 2).sum()


def an_element_twice(w):
    r = jax.new_ref(jnp.ones(3))
    r[1] = w * 2
    r[1] = w * 3
    return (r[...] ** 2).sum()


def in_place_sum(w):
    r = jax.new_ref(jnp.zeros(3))
    r[0] += w
    r[0] += w
    return (r[...] ** 2).sum()


def addupdate(w):
    r = jax.new_ref(jnp.zeros(3))
    jax.ref.addupdate(r, 0, w)
    jax.ref.addupdate(r, 0, w * w)
    return (r[...] ** 2).sum()


def swap(w):
    r = jax.new_ref(w * 2)
    old = jax.ref.swap(r, ..., w * 3)
    return old * r[...]


def get_and_set(w):
    r = jax.new_ref(w * 2)
    jax.ref.set(r, ..., jax.ref.get(r, ...) * w)
    return jax.ref.get(r, ...)


def slices(w):
    r = jax.new_ref(jnp.zeros(3))
    r[:] = w * Y
    r[1:] = r[:2] * 2
    return (r[...] ** 2).sum()


def an_array_index(w):
    r = jax.new_ref(jnp.zeros(3))
    r[jnp.array([0, 2])] = jnp.stack([w, w * w])
    return (r[...] ** 2).sum() + r[jnp.array(0)]


def read_before_and_after(w):
    r = jax.new_ref(w)
    before = r[...]
    r[...] = w * 3
    return before * r[...]


def overwritten_by_data(w):
    r = jax.new_ref(w * w)
    before = r[...]
    r[...] = 5.0
    return before + r[...] * w


def frozen(w):
    return jax.freeze(jax.new_ref(w * 2)) ** 2


def two_refs(w):
    r = jax.new_ref(w)
    s = jax.new_ref(r[...] * 2)
    r[...] = s[...]
    s[...] = r[...] * w
    return s[...]


def refs_in_a_dict(w):
    d = {"a": jax.new_ref(w), "b": jax.new_ref(w * 3)}
    d["a"][...] = w * 2
    return d["a"][...] * d["b"][...]


def an_int_counter(w):
    n = jax.new_ref(0)
    n[...] += 1
    n[...] += 1
    return n[...] * w


def a_ref_of_data(w):
    r = jax.new_ref(jnp.asarray(Y))
    r[0] = 2.0
    return (r[...] * w).sum()


def a_function_of_a_ref(w):
    def double(r):
        r[...] = r[...] * 2

    r = jax.new_ref(w)
    double(r)
    double(r)
    return r[...] ** 2


def in_a_scan(w):
    r = jax.new_ref(0.0)

    def body(c, y):
        r[...] += c * y
        return c * w, None

    lax.scan(body, w, Y)
    return r[...] ** 2


def in_a_reversed_scan(w):
    r = jax.new_ref(1.0)

    def body(c, y):
        r[...] = r[...] * c + y
        return c * w, r[...]

    c, ys = lax.scan(body, w, Y, reverse=True)
    return r[...] * c + ys.sum()


def elements_in_a_scan(w):
    r = jax.new_ref(jnp.zeros(3))

    def body(c, i):
        r[i] = c * w
        return c * w, r[i]

    return (lax.scan(body, w, jnp.arange(3))[1] * r[...]).sum()


def in_a_nested_scan(w):
    r = jax.new_ref(1.0)

    def inner(c, y):
        r[...] = r[...] * 0.5 + c * y
        return c, None

    def outer(c, y):
        lax.scan(inner, c * y, Y)
        return c * w, None

    lax.scan(outer, w, Y)
    return r[...]


def in_a_fori_loop(w):
    r = jax.new_ref(0.0)

    def body(_, c):
        r[...] += c * w
        return c * w

    lax.fori_loop(0, 3, body, w)
    return r[...] ** 2


def elements_in_a_fori_loop(w):
    r = jax.new_ref(jnp.zeros(3))

    def body(i, c):
        r[i] = c * w
        return c * w

    lax.fori_loop(0, 3, body, w)
    return (r[...] ** 2).sum()


def in_a_branch(w):
    r = jax.new_ref(w)

    def positive():
        r[...] = w * 3

    def negative():
        r[...] = -w

    lax.cond(w > 0, positive, negative)
    return r[...] ** 2


def in_one_branch(w):
    r = jax.new_ref(w)

    def positive():
        r[...] = r[...] * 3

    lax.cond(w > 0, positive, lambda: None)
    return r[...] ** 2


def a_jitted_closure(w):
    r = jax.new_ref(0.0)

    @jax.jit
    def write(w):
        r[...] = w * 3
        return w

    return write(w) * r[...] ** 2


def a_jitted_argument(w):
    @jax.jit
    def write(r, w):
        r[...] = r[...] + w * 3

    r = jax.new_ref(w)
    write(r, w)
    write(r, w * 2)
    return r[...] ** 2


def made_in_a_scan(w):
    def body(c, y):
        r = jax.new_ref(c)
        r[...] *= y
        return r[...], None

    return lax.scan(body, w, Y)[0]


def made_in_a_branch(w):
    def positive(w):
        r = jax.new_ref(w)
        r[...] = r[...] ** 2
        return r[...]

    return lax.cond(w > 0, positive, jnp.sin, w)


def made_in_a_vmapped_function(w):
    def scaled(x):
        r = jax.new_ref(x)
        r[...] = r[...] * w
        return r[...] ** 2

    return jax.vmap(scaled)(X).sum()


def made_in_a_jitted_function(w):
    @jax.jit
    def f(w):
        r = jax.new_ref(jnp.zeros(2))
        r[0] = w
        return r[...] * w

    return f(w).sum()


def through_a_custom_vjp(w):
    f = vjp_of(lambda x: x * 2, lambda x: (x * 2, None), lambda _, g: (g * 7,))
    r = jax.new_ref(w)
    r[...] = f(r[...])
    return r[...]


def through_a_custom_jvp(w):
    f = jvp_of(lambda x: x * 2, lambda p, t: (p[0] * 2, 7 * t[0]))
    r = jax.new_ref(w)
    r[...] = f(r[...]) * w
    return r[...]


def a_parameter_update(w):
    p = jax.new_ref(jnp.stack([w, w * 2]))

    def step(_, y):
        p[...] = p[...] - 0.1 * (p[...] * y)
        return None, (p[...] ** 2).sum()

    return lax.scan(step, None, Y)[1].sum()


USES = [
    the_example,
    initial_value,
    elements,
    an_element_twice,
    in_place_sum,
    addupdate,
    swap,
    get_and_set,
    slices,
    an_array_index,
    read_before_and_after,
    overwritten_by_data,
    frozen,
    two_refs,
    refs_in_a_dict,
    an_int_counter,
    a_ref_of_data,
    a_function_of_a_ref,
    in_a_scan,
    in_a_reversed_scan,
    elements_in_a_scan,
    in_a_nested_scan,
    in_a_fori_loop,
    elements_in_a_fori_loop,
    in_a_branch,
    in_one_branch,
    a_jitted_closure,
    a_jitted_argument,
    made_in_a_scan,
    made_in_a_branch,
    made_in_a_vmapped_function,
    made_in_a_jitted_function,
    through_a_custom_vjp,
    through_a_custom_jvp,
    a_parameter_update,
]
W = np.float32(1.3)

PLACES = {
    "jit outside": lambda J, f: jax.jit(J.value_and_grad(f))(W),
    "jit inside": lambda J, f: J.value_and_grad(jax.jit(f))(W),
    "vmap outside": lambda J, f: jax.vmap(J.value_and_grad(f))(X),
    "twice": lambda J, f: J.value_and_grad(lambda w: w * J.grad(f)(w))(W),
}

PLAIN = {
    in_place_sum: lambda w: 4 * w**2,
    read_before_and_after: lambda w: 3 * w**2,
    in_a_scan: lambda w: (w * Y[0] + w**2 * Y[1] + w**3 * Y[2]) ** 2,
    in_a_fori_loop: lambda w: (w**2 + w**3 + w**4) ** 2,
    in_a_branch: lambda w: jnp.where(w > 0, 9 * w**2, w**2),
    elements: lambda w: 5 * w**2,
    slices: lambda w: w**2 * (5 * Y[0] ** 2 + 4 * Y[1] ** 2),
    overwritten_by_data: lambda w: w * w + 5 * w,
    refs_in_a_dict: lambda w: 6 * w**2,
    a_ref_of_data: lambda w: w * (2 + Y[1] + Y[2]),
    a_function_of_a_ref: lambda w: 16 * w**2,
    elements_in_a_scan: lambda w: w**4 + w**6 + w**8,
    elements_in_a_fori_loop: lambda w: w**4 + w**6 + w**8,
    in_one_branch: lambda w: jnp.where(w > 0, 9 * w**2, w**2),
    a_jitted_closure: lambda w: 9 * w**3,
    made_in_a_branch: lambda w: w**2,
    through_a_custom_vjp: lambda w: 7 * w,
    a_parameter_update: lambda w: sum(5 * w**2 * f**2 for f in np.cumprod(1 - np.float32(0.1) * Y)),
}
"""What the functions are where JAX refuses some use of them."""

REFUSED = {"vmap outside": {in_one_branch: NotImplementedError}}
if OLDER:  # AttributeErrors of JAX itself, where data are written to a ref
    refusing = dict.fromkeys((overwritten_by_data, a_ref_of_data), AttributeError)
    REFUSED |= dict.fromkeys(("eager", "jit outside", "jit inside"), refusing)
    REFUSED["vmap outside"] |= refusing | {a_parameter_update: AttributeError}
    REFUSED["twice"] = {f: AttributeError for f in PLAIN if f is not in_one_branch}


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
    return J.grad(checkpointed(the_example))(W)


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
