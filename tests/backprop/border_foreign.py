"""Primitives of other libraries, differentiated by the rules that they registered with JAX.

Such a library makes a `jax.extend.core.Primitive` and tells JAX how to evaluate, type, batch, compile, and
differentiate it. What it says of differentiation is the user's own rule in the sense of a custom_jvp.
"""

# ruff: noqa: N803
# J is a library that differentiates.

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.interpreters import ad

from tests.backprop.border import AROUND, Kind, jvp_of, vjp_of
from tests.backprop.border_library import (
    both_p,
    exp_p,
    failing_p,
    namesake_p,
    noinline,
    one_way_p,
    power_p,
    primitive,
    scaled_p,
    sine_p,
    solve_p,
    thrice_p,
    times_p,
    unknown_p,
)

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])

FOREIGN = Kind("primitives of other libraries")


USES = {
    "a linear primitive": lambda x: thrice_p.bind(x) ** 2,
    "a linear primitive with a parameter": lambda x: scaled_p.bind(x * x, factor=2.0),
    "a bilinear primitive": lambda x: times_p.bind(jnp.sin(x), times_p.bind(x, x)),
    "a tangent by each operand": lambda x: sine_p.bind(2 * x),
    "a tangent by the result": lambda x: exp_p.bind(x * x),
    "two results": lambda x: sum(both_p.bind(x, x * x)),
    "two results, one is used": lambda x: both_p.bind(x, jnp.float32(2))[0],
    "a solver": lambda x: solve_p.bind(jnp.array([[2.0, 0.5], [0.2, 3.0]]) + x, jnp.stack([x, x * x])).prod(),
    "a call": noinline(lambda x: jnp.sin(x) * x),
    "the name of one of JAX's": lambda x: namesake_p.bind(x) * jnp.sin(x),
}
ROUNDING = {"a solver": 64}
"""In units of the last place: what a 2 by 2 solve and its transposed one may round to."""
for _name in ("a linear primitive", "a tangent by each operand", "two results", "a call"):
    FOREIGN.around(_name, lambda f=USES[_name]: f)
for _name, _f in USES.items():
    _ulps = {"ulps": ROUNDING[_name]} if _name in ROUNDING else {}
    for _place in (
        "eager",
        "jit outside",
        "jit inside",
        "vmap outside",
        "scan inside",
        "checkpoint inside",
        "twice",
    ):
        if f"{_name}, {_place}" not in {row.name for row in FOREIGN.rows}:
            FOREIGN.add(
                f"{_name}, {_place}",
                lambda J, f=_f, place=_place: AROUND[place](J, f, jnp.float32(0.7)),
                **_ulps,
            )
    FOREIGN.add(
        f"{_name}, twice in a jitted function",
        lambda J, f=_f: jax.jit(lambda x: J.grad(J.grad(jax.jit(f)))(x))(jnp.float32(0.7)),
        **_ulps,
    )


@FOREIGN()
def both_operands_of_a_bilinear_primitive(J):
    return J.grad(lambda x, y: times_p.bind(x, y).sum(), (0, 1))(X, Y)


@FOREIGN()
def one_operand_of_a_bilinear_primitive(J):
    return [J.grad(lambda x, y: times_p.bind(x, y).sum(), i)(X, Y) for i in (0, 1)]


@FOREIGN()
def an_int_operand(J):
    f = lambda x: power_p.bind(x, jnp.int32(3))  # noqa: E731
    return (
        J.grad(f)(jnp.float32(1.5)),
        jax.jit(J.grad(f))(jnp.float32(1.5)),
        J.grad(jax.jit(f))(jnp.float32(1.5)),
    )


@FOREIGN()
def an_int_operand_with_allow_int(J):
    return J.grad(power_p.bind, (0, 1), allow_int=True)(jnp.float32(1.5), jnp.int32(3))


@FOREIGN()
def which_tangents_are_zero(J):
    first = J.grad(lambda x, y: both_p.bind(x, y)[0], (0, 1))(0.3, 0.7)
    return first, J.grad(lambda x: both_p.bind(x, 0.7)[0])(0.3), J.grad(lambda y: both_p.bind(0.3, y)[0])(0.7)


@FOREIGN()
def a_result_without_gradient(J):
    return J.grad(lambda x: both_p.bind(x, 0.7)[1] * x)(0.3), J.grad(lambda x: both_p.bind(x, 0.7)[1])(0.3)


@FOREIGN()
def the_jacobian_of_two_results(J):
    return J.jacobian(lambda x: both_p.bind(x, x * Y))(X)


@FOREIGN()
def the_hessian(J):
    return J.hessian(lambda x: (sine_p.bind(x) * exp_p.bind(x)).prod())(X)


@FOREIGN()
def on_data_alone(J):
    return J.grad(lambda x, y: (x * unknown_p.bind(y)).sum())(X, Y)


@FOREIGN()
def on_a_stopped_value(J):
    return J.grad(lambda x: (x * unknown_p.bind(lax.stop_gradient(x))).sum())(X)


@FOREIGN()
def for_an_index(J):
    return J.grad(lambda x, y: x[int(thrice_p.bind(y))] ** 2)(X, jnp.float32(0.5))


@FOREIGN(raises=NotImplementedError)
def without_a_rule(J):
    return J.grad(lambda x: unknown_p.bind(x).sum())(X)


@FOREIGN(raises=NotImplementedError)
def without_a_rule_under_jit(J):
    return jax.jit(J.grad(jax.jit(lambda x: unknown_p.bind(x).sum())))(X)


@FOREIGN(raises=NotImplementedError)
def without_a_transposition(J):
    return J.grad(lambda x: one_way_p.bind(x).sum())(X)


@FOREIGN(raises=ZeroDivisionError)
def a_rule_that_fails(J):
    return J.grad(lambda x: failing_p.bind(x).sum())(X)


@FOREIGN()
def a_rule_that_is_registered_late(J):
    late_p = primitive("border_late", lambda x: x * x)
    try:
        J.grad(late_p.bind)(jnp.float32(1.5))
    except NotImplementedError:
        ad.defjvp(late_p, lambda t, x: 7 * t)
        return J.grad(late_p.bind)(jnp.float32(1.5))


@FOREIGN()
def two_of_one_name(J):
    ps = [primitive("border_twin", lambda x: x * x) for _ in range(2)]
    ad.defjvp(ps[0], lambda t, x: 2 * t * x)
    ad.defjvp(ps[1], lambda t, x: 20 * t * x)
    return [J.grad(p.bind)(jnp.float32(1.5)) for p in ps]


@FOREIGN()
def how_often_the_rule_is_called(J):
    calls = []
    counted_p = primitive("border_counted", lambda x: x * x)

    def rule(primals, tangents):
        calls.append(type(tangents[0]) is ad.Zero)
        return counted_p.bind(*primals), 2 * primals[0] * tangents[0]

    ad.primitive_jvps[counted_p] = rule
    return J.grad(lambda x: counted_p.bind(x) * 3)(jnp.float32(1.5)), calls


@FOREIGN()
def inside_a_custom_jvp(J):
    f = jvp_of(lambda x: sine_p.bind(x), lambda p, t: (sine_p.bind(p[0]), thrice_p.bind(t[0])))
    return J.grad(f)(jnp.float32(0.7)), J.grad(lambda x: x * J.grad(f)(x))(jnp.float32(0.7))


@FOREIGN()
def inside_a_custom_vjp(J):
    f = vjp_of(sine_p.bind, lambda x: (sine_p.bind(x), x), lambda x, g: (thrice_p.bind(g) * exp_p.bind(x),))
    return J.grad(f)(jnp.float32(0.7)), J.grad(lambda x: x * J.grad(f)(x))(jnp.float32(0.7))


@FOREIGN()
def other_dtypes(J):
    def f(x):
        return sine_p.bind(thrice_p.bind(x)).sum()

    return [J.grad(f)(jnp.asarray(X, dtype)) for dtype in (jnp.bfloat16, jnp.float16)]


@FOREIGN()
def float64(J):
    with jax.enable_x64(True):
        return J.grad(lambda x: exp_p.bind(thrice_p.bind(x)).sum())(np.float64(X))


@FOREIGN()
def complex_numbers(J):
    return J.grad(lambda z: times_p.bind(z, thrice_p.bind(z)).real)(jnp.complex64(1 + 2j))


@FOREIGN()
def a_python_float(J):
    return J.value_and_grad(lambda x: sine_p.bind(x))(0.7)


@FOREIGN()
def in_a_branch_and_a_loop(J):
    def f(x):
        x = lax.cond(x > 0, sine_p.bind, exp_p.bind, x)
        return lax.fori_loop(0, 2, lambda _, x: thrice_p.bind(x) * x, x)

    return J.grad(f)(jnp.float32(0.7)), jax.jit(J.grad(f))(jnp.float32(-0.7))


@FOREIGN()
def a_batched_call_of_data_and_values(J):
    f = noinline(lambda x, y: jnp.sin(x) * y)
    return J.grad(lambda x: jax.vmap(f, (0, None))(x, jnp.float32(2)).sum())(jnp.asarray(X))


@FOREIGN()
def a_call_of_two_operands(J):
    f = noinline(lambda x, y: jnp.sin(x) * y**2)
    x, y = jnp.float32(0.3), jnp.float32(0.7)
    return J.grad(f, (0, 1))(x, y), J.grad(f, 1)(x, y), J.grad(J.grad(f, 1))(x, y)


@FOREIGN()
def a_call_of_a_call(J):
    f = noinline(lambda x: noinline(jnp.sin)(x) * x)
    return J.grad(f)(jnp.float32(0.7)), jax.jit(J.grad(f))(jnp.float32(0.7))


@FOREIGN()
def a_call_of_a_custom_rule(J):
    f = noinline(lambda x: jax.nn.relu(x) * x)
    return J.grad(f)(jnp.float32(0.7)), J.grad(f)(jnp.float32(-0.7))


@FOREIGN(ulps=64)  # of a solve and its transposed one
def both_operands_of_a_solver(J):
    a = np.float32([[2, 0.5, 0], [0.2, 3, 1], [0, 1, 4]])
    return J.grad(lambda a, b: solve_p.bind(a, b).sum(), (0, 1))(a, X)


@FOREIGN(ulps=64)  # of a solve and its transposed one
def a_solver_under_vmap(J):
    a = np.float32([[2, 0.5, 0], [0.2, 3, 1], [0, 1, 4]])
    return J.grad(lambda b: jax.vmap(solve_p.bind, (None, 0))(a, b).sum())(np.stack([X, Y]))


@FOREIGN()
def a_fixed_point(J):
    """x = a cos x, whose tangent is implicit: x' = a' cos x / (1 + a sin x)."""
    fixed_p = primitive(
        "border_fixed_point", lambda a: lax.fori_loop(0, 30, lambda _, x: a * jnp.cos(x), jnp.zeros_like(a))
    )

    def rule(primals, tangents):
        x = fixed_p.bind(*primals)
        return x, tangents[0] * jnp.cos(x) / (1 + primals[0] * jnp.sin(x))

    ad.primitive_jvps[fixed_p] = rule
    return J.value_and_grad(fixed_p.bind)(jnp.float32(0.7)), jax.jit(J.grad(J.grad(fixed_p.bind)))(
        jnp.float32(0.7)
    )
