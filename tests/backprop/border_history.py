"""Functions of a number that write it into mutable arrays of their own and read it back."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.backprop.border import jvp_of, vjp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])


def the_example(w):
    r = jax.new_ref(jnp.float32(0))
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
    r = jax.new_ref(jnp.float32(0))

    def body(c, y):
        r[...] += c * y
        return c * w, None

    lax.scan(body, w, Y)
    return r[...] ** 2


def in_a_reversed_scan(w):
    r = jax.new_ref(jnp.float32(1))

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
    r = jax.new_ref(jnp.float32(1))

    def inner(c, y):
        r[...] = r[...] * 0.5 + c * y
        return c, None

    def outer(c, y):
        lax.scan(inner, c * y, Y)
        return c * w, None

    lax.scan(outer, w, Y)
    return r[...]


def in_a_fori_loop(w):
    r = jax.new_ref(jnp.float32(0))

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
    r = jax.new_ref(jnp.float32(0))

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
