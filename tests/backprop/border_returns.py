"""What a user's own rule returns: numbers of any sort.

JAX hands on what a backward rule returned as it came. Where nothing is computed with it any more, it leaves
JAX as it is: a Python number, or an array of another dtype than the argument has. Here it is of the type of
the argument, so rows either go on computing (the rule's argument is a multiple of theirs) or convert.
"""

# ruff: noqa: N803
# J is a library that differentiates.

import math

import jax
import jax.numpy as jnp
import numpy as np

from tests.backprop.border import Kind, jvp_of, vjp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])
FLOAT0 = np.zeros((), jax.dtypes.float0)

SCALARS = Kind("a scalar out of a rule is a gradient")


def backward_returns(x_bar):
    """A sine whose backward rule returns this, whatever the upstream gradient is."""
    return vjp_of(jnp.sin, lambda x: (jnp.sin(x), None), lambda _, y_bar: (x_bar,))


def of_a_multiple(x_bar):
    """The same of 3 x, so that the way back goes on."""
    f = backward_returns(x_bar)
    return lambda x: f(3 * x)


FLOATS = {
    "a Python float": 2.0,
    "a negative zero": -0.0,
    "a NumPy float": np.float32(2),
    "a wide NumPy float": np.float64(2),
    "a NumPy array without axes": np.array(2.0, np.float32),
    "nan of NumPy": jnp.nan,
    "nan of Python": math.nan,
    "infinity": -math.inf,
    "pi": math.pi,
    "a JAX scalar": jnp.float32(2),
    "a weakly typed JAX scalar": jnp.asarray(2.0),
    "None": None,
}
for _name, _x_bar in FLOATS.items():
    SCALARS.add(_name, lambda J, x_bar=_x_bar: J.value_and_grad(of_a_multiple(x_bar))(jnp.float32(1)))
    SCALARS.add(
        f"{_name}, at once",
        lambda J, x_bar=_x_bar: jnp.float32(J.grad(backward_returns(x_bar))(jnp.float32(1))),
    )

NO_FLOATS = {
    "a Python int": (2, 6.0),
    "a bool": (True, 3.0),
    "a NumPy int": (np.int32(2), 6.0),
    "a JAX int": (jnp.int32(2), 6.0),
    "a narrow NumPy float": (np.float16(2), 6.0),
    "a JAX scalar of bfloat16": (jnp.bfloat16(2), 6.0),
    "float0": (FLOAT0, 0.0),
}
for _name, (_x_bar, _right) in NO_FLOATS.items():
    SCALARS.add(
        _name,
        lambda J, x_bar=_x_bar: J.grad(of_a_multiple(x_bar))(jnp.float32(1)),
        raises=TypeError,
        right=lambda right=_right: jnp.float32(right),
    )

REFUSED = {
    "a complex number": (2j, TypeError),
    "a complex JAX scalar": (jnp.complex64(2j), TypeError),
    "a string": ("2", TypeError),
    "a list in the tuple": ([2.0], TypeError),
    "a tuple in the tuple": ((2.0,), TypeError),
    "a dict in the tuple": ({"x": 2.0}, TypeError),
    "a function": (math.sin, TypeError),
    "an array of another shape": (np.ones(2, np.float32), ValueError),
}
for _name, (_x_bar, _error) in REFUSED.items():
    SCALARS.add(_name, lambda J, x_bar=_x_bar: J.grad(of_a_multiple(x_bar))(1.0), raises=_error)

ANSWERS = {
    "no tuple": (lambda _, g: 2.0, TypeError),
    "two for one": (lambda _, g: (2.0, 3.0), TypeError),
    "none for one": (lambda _, g: (), TypeError),
    "nothing": (lambda _, g: None, TypeError),
    "a dict": (lambda _, g: {"x": 2.0}, TypeError),
    "an error of its own": (lambda _, g: (1 / 0,), ZeroDivisionError),
    "too few parameters": (lambda r: (2.0,), TypeError),
}
for _name, (_backward, _error) in ANSWERS.items():
    SCALARS.add(
        f"{_name} out of backward",
        lambda J, backward=_backward: J.grad(vjp_of(jnp.sin, lambda x: (x, None), backward))(1.0),
        raises=_error,
    )

SCALARS.around("a Python float", lambda: of_a_multiple(2.0))
SCALARS.around("a NumPy float", lambda: of_a_multiple(np.float32(2)))
SCALARS.around("a weakly typed scalar", lambda: of_a_multiple(jnp.asarray(2.0)))


@SCALARS()
def a_list_for_a_tuple(J):
    return J.grad(lambda x: vjp_of(jnp.sin, lambda x: (x, None), lambda _, g: [2.0])(3 * x))(1.0)


@SCALARS()
def scalars_in_a_dict(J):
    f = vjp_of(
        lambda p: p["a"] * p["b"],
        lambda p: (p["a"] * p["b"], None),
        lambda _, g: ({"a": 3.0, "b": np.float32(2)},),
    )
    return J.grad(lambda p: f(jax.tree.map(lambda x: 3 * x, p)))({"a": 2.0, "b": jnp.float32(3)})


@SCALARS()
def scalars_in_a_list_beside_none(J):
    f = vjp_of(lambda p: p[0] * p[1], lambda p: (p[0] * p[1], None), lambda _, g: ([5.0, None],))
    return J.grad(lambda p: f([3 * x for x in p]))([2.0, 3.0])


@SCALARS()
def none_for_a_whole_argument(J):
    f = vjp_of(lambda p, x: p["a"] * x, lambda p, x: (p["a"] * x, None), lambda _, g: (None, 7.0))
    return J.grad(lambda p, x: f(p, 3 * x), (0, 1))({"a": 2.0}, 3.0)


@SCALARS()
def for_one_of_two_arguments(J):
    f = vjp_of(lambda x, y: x * y, lambda x, y: (x * y, x), lambda x, g: (2.0, g * x))
    return J.grad(lambda x, y: f(3 * x, y), (0, 1))(2.0, 3.0)


@SCALARS()
def that_is_added_to_another_gradient(J):
    f, g = backward_returns(2.0), backward_returns(np.float32(0.5))
    return J.grad(lambda x: f(x) + g(x) * 3 + x**2)(jnp.float32(1))


@SCALARS()
def an_array_of_numpy(J):
    f = vjp_of(lambda x: x.sum(), lambda x: (x.sum(), None), lambda _, g: (np.full(3, 2.0),))
    return J.grad(lambda x: f(3 * x))(X)


@SCALARS(raises=ValueError)
def for_a_vector(J):
    return J.grad(vjp_of(lambda x: x.sum(), lambda x: (x.sum(), None), lambda _, g: (2.0,)))(X)


@SCALARS(raises=TypeError)
def for_one_of_two_alone(J):
    return J.grad(vjp_of(lambda x, y: x * y, lambda x, y: (x * y, None), lambda _, g: (2.0,)))(1.0, 2.0)


@SCALARS(raises=ZeroDivisionError)
def an_error_in_forward(J):
    return J.grad(vjp_of(jnp.sin, lambda x: (1 / 0, None), lambda _, g: (g,)))(1.0)


@SCALARS(raises=TypeError)
def no_pair_out_of_forward(J):
    return J.grad(vjp_of(jnp.sin, jnp.sin, lambda r, g: (g,)))(1.0)


@SCALARS(raises=TypeError)
def another_structure_out_of_forward(J):
    return J.grad(vjp_of(jnp.sin, lambda x: ([x], None), lambda r, g: (g,)))(1.0)


@SCALARS(raises=AttributeError)
def a_rule_that_was_never_defined(J):
    return J.grad(jax.custom_vjp(jnp.sin))(1.0)


@SCALARS(raises=AttributeError)
def a_tangent_rule_that_was_never_defined(J):
    return J.grad(jax.custom_jvp(jnp.sin))(1.0)


INTEGERS = {"None": None, "float0": FLOAT0, "an int": 0, "a float": 0.0, "a NumPy float": np.float32(0)}
for _name, _x_bar in INTEGERS.items():
    SCALARS.add(
        f"{_name} for an int argument",
        lambda J, x_bar=_x_bar: J.grad(
            lambda x, n: vjp_of(lambda x, n: x * n, lambda x, n: (x * n, n), lambda n, g: (2.0, x_bar))(
                3 * x, n
            ),
            (0, 1),
            allow_int=True,
        )(1.5, jnp.int32(3)),
    )


@SCALARS()
def of_a_custom_gradient(J):
    f = jax.custom_gradient(lambda x: (x**2, lambda g: 2.0))
    return J.value_and_grad(lambda x: f(3 * x))(1.5)


@SCALARS()
def of_a_custom_gradient_of_two(J):
    f = jax.custom_gradient(lambda x, y: (x * y, lambda g: (2.0, np.float32(3))))
    return J.value_and_grad(lambda x, y: f(3 * x, 3 * y), (0, 1))(1.5, jnp.float32(2))


@SCALARS()
def out_of_forward(J):
    f = vjp_of(lambda x: 3.0, lambda x: (3.0, 2.0), lambda r, g: (r * g,))
    return J.value_and_grad(lambda x: f(x) * x)(1.0)


@SCALARS()
def out_of_forward_as_numpy(J):
    f = vjp_of(lambda x: np.float32(3), lambda x: (np.float32(3), np.float32(2)), lambda r, g: (r * g,))
    return J.value_and_grad(lambda x: f(x) * x)(jnp.float32(1))


@SCALARS()
def times_a_tangent(J):
    return J.grad(jvp_of(jnp.sin, lambda p, t: (jnp.sin(p[0]), 2.0 * t[0])))(1.0)


@SCALARS()
def as_the_value_of_a_tangent_rule(J):
    return J.value_and_grad(lambda x: x * jvp_of(lambda x: 3.0, lambda p, t: (3.0, 2.0 * t[0]))(x))(1.0)


@SCALARS()
def as_a_factor_in_defjvps(J):
    f = jax.custom_jvp(jnp.multiply)
    f.defjvps(lambda t, y, a, b: 2.0 * t, None)
    return J.grad(f, (0, 1))(1.0, 3.0)


@SCALARS()
def for_one_of_several_outputs(J):
    f = vjp_of(lambda x: (x, x), lambda x: ((x, 2 * x), None), lambda _, g: (3.0,))
    return J.grad(lambda x: f(3 * x)[1] * 2)(1.0)


@SCALARS()
def with_nondiff_argnums(J):
    f = vjp_of(
        lambda n, x: x**n, lambda n, x: (x**n, None), lambda n, _, g: (float(n),), nondiff_argnums=(0,)
    )
    return J.grad(lambda x: f(3, 3 * x))(1.0)


@SCALARS()
def in_the_jacobian(J):
    f = vjp_of(lambda x: x[0], lambda x: (x[0], None), lambda _, g: (np.float32([1, 2]),))
    return J.jacobian(lambda x: {"a": f(3 * x), "b": x[1]})(jnp.float32([1, 2]))


@SCALARS()
def that_depends_on_the_upstream_gradient_alone(J):
    f = vjp_of(jnp.sin, lambda x: (jnp.sin(x), None), lambda _, g: (g,))
    return J.vjp(f, X)[1](jnp.asarray(Y))
