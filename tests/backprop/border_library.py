"""A library beside JAX: primitives with rules of all sorts that it registers with JAX.

They are linear or bilinear, have a tangent for each operand or for all, tell symbolic zeros apart, solve a
system, call a program; one has the name of a primitive of JAX, one no rule, one a rule that fails.
"""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir


def primitive(name, function, many=False):
    """A primitive that is evaluated, typed and compiled as this function of arrays and parameters is."""
    p = Primitive(name)
    p.multiple_results = many
    p.def_impl(function)

    def typed(*avals, **params):
        outs = jax.eval_shape(
            functools.partial(function, **params), *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals)
        )
        arrays = jax.tree.map(lambda out: jax.core.ShapedArray(out.shape, out.dtype), outs)
        return list(arrays) if many else arrays

    p.def_abstract_eval(typed)
    mlir.register_lowering(p, mlir.lower_fun(function, multiple_results=many))
    return p


def leading(xs, dims):
    """The operands with their batched axis in front, those without one repeated along it."""
    size = next(x.shape[dim] for x, dim in zip(xs, dims, strict=True) if dim is not None)
    return [
        jnp.broadcast_to(x, (size, *jnp.shape(x))) if dim is None else jnp.moveaxis(x, dim, 0)
        for x, dim in zip(xs, dims, strict=True)
    ]


def batched_along_the_first_axis(p):
    """Batching of a primitive that takes any number of axes in front."""

    def rule(xs, dims, **params):
        out = p.bind(*leading(xs, dims), **params)
        return out, jax.tree.map(lambda _: 0, out)

    batching.primitive_batchers[p] = rule


def no_tangent(y):
    return ad.Zero(jax.typeof(y).to_tangent_aval())


# linear, transposed by the cotangent alone; by the operands and a parameter; in each of two operands

thrice_p = primitive("border_thrice", lambda x: 3 * x)
ad.deflinear(thrice_p, lambda y_bar: [thrice_p.bind(y_bar)])
batching.defvectorized(thrice_p)

scaled_p = primitive("border_scaled", lambda x, *, factor: factor * x)
ad.deflinear2(scaled_p, lambda y_bar, x, *, factor: [scaled_p.bind(y_bar, factor=factor)])
batching.defvectorized(scaled_p)

times_p = primitive("border_times", lambda x, y: x * y)
ad.defbilinear(times_p, lambda g, x, y: times_p.bind(g, y), lambda g, x, y: times_p.bind(x, g))
batched_along_the_first_axis(times_p)

# nonlinear: a tangent by each operand, with and without the result

sine_p = primitive("border_sine", lambda x: jnp.sin(x))
ad.defjvp(sine_p, lambda t, x: 10 * t * jnp.cos(x))
batching.defvectorized(sine_p)

exp_p = primitive("border_exp", lambda x: jnp.exp(x))
ad.defjvp2(exp_p, lambda t, y, x: t * y)
batching.defvectorized(exp_p)

power_p = primitive("border_power", lambda x, n: x**n)
ad.defjvp(power_p, lambda t, x, n: t * n * power_p.bind(x, n - 1), None)
batched_along_the_first_axis(power_p)


def dense(t):
    return ad.instantiate_zeros(t)


# two results, and what is told of zeros: as tangents, and out of the rule

both_p = primitive("border_sine_and_cosine", lambda x, y: [jnp.sin(x) * y, jnp.cos(y)], many=True)


def both_jvp(primals, tangents):
    (x, y), (s, t) = primals, tangents
    out = both_p.bind(x, y)
    first = [2 * s * jnp.cos(x) * y] if type(s) is not ad.Zero else []
    first += [3 * t * jnp.sin(x)] if type(t) is not ad.Zero else []
    cosine = no_tangent(out[1]) if type(t) is ad.Zero else -5 * t * jnp.sin(y)
    return out, [sum(first) if first else no_tangent(out[0]), cosine]


ad.primitive_jvps[both_p] = both_jvp
batched_along_the_first_axis(both_p)


# a linear solver whose tangent is a solve of itself, with one transposition for the right-hand side

solve_p = primitive("border_solve", lambda a, b: jnp.linalg.solve(a, b[..., None])[..., 0])


def solve_jvp(primals, tangents):
    (a, b), (a_dot, b_dot) = primals, tangents
    x = solve_p.bind(a, b)
    right = [] if type(b_dot) is ad.Zero else [b_dot]
    right += [] if type(a_dot) is ad.Zero else [-jnp.einsum("...ij,...j->...i", a_dot, x)]
    return x, solve_p.bind(a, sum(right[1:], right[0])) if right else no_tangent(x)


def solve_transpose(x_bar, a, b):
    assert ad.is_undefined_primal(b)
    assert not ad.is_undefined_primal(a)
    return None, (ad.Zero(b.aval) if type(x_bar) is ad.Zero else solve_p.bind(jnp.swapaxes(a, -1, -2), x_bar))


ad.primitive_jvps[solve_p] = solve_jvp
ad.primitive_transposes[solve_p] = solve_transpose
batched_along_the_first_axis(solve_p)

# a call, as of equinox's noinline: its program is a parameter, its tangent another call

call_p = primitive("border_call", lambda *xs, program: jaxpr_as_fun(program)(*xs), many=True)


def call_jvp(primals, tangents, *, program):
    places = [i for i, t in enumerate(tangents) if type(t) is not ad.Zero]

    def tangent(*args):
        xs, ts = list(args[: len(primals)]), iter(args[len(primals) :])
        dots = [next(ts) if i in places else jnp.zeros_like(x) for i, x in enumerate(xs)]
        return jax.jvp(lambda *xs: jaxpr_as_fun(program)(*xs), xs, dots)[1]

    given = [tangents[i] for i in places]
    both = jax.make_jaxpr(tangent)(*primals, *given)
    return call_p.bind(*primals, program=program), call_p.bind(*primals, *given, program=both)


def call_transpose(y_bars, *operands, program):
    unknown = [i for i, x in enumerate(operands) if ad.is_undefined_primal(x)]
    avals = [operands[i].aval for i in unknown]

    def linear(*ts):
        given = iter(ts)
        return jaxpr_as_fun(program)(*(next(given) if i in unknown else x for i, x in enumerate(operands)))

    back = jax.linear_transpose(linear, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals))
    grads = iter(back([dense(y_bar) for y_bar in y_bars]))
    return [next(grads) if i in unknown else None for i in range(len(operands))]


ad.primitive_jvps[call_p] = call_jvp
ad.primitive_transposes[call_p] = call_transpose


def call_batched(xs, dims, *, program):
    xs = leading(xs, dims)
    ys = call_p.bind(*xs, program=jax.make_jaxpr(jax.vmap(jaxpr_as_fun(program)))(*xs))
    return ys, [0] * len(ys)


batching.primitive_batchers[call_p] = call_batched


def noinline(f):
    def called(*xs):
        program = jax.make_jaxpr(f)(*xs)
        assert isinstance(program, ClosedJaxpr)
        return call_p.bind(*xs, program=program)[0]

    return called


# a name that JAX has too, with another meaning; no rule; rules that fail

namesake_p = primitive("sin", lambda x: x * x)
ad.defjvp(namesake_p, lambda t, x: 2 * t * x)
batching.defvectorized(namesake_p)

unknown_p = primitive("border_unknown", lambda x: x * x)
failing_p = primitive("border_failing", lambda x: x * x)
ad.defjvp(failing_p, lambda t, x: 1 / 0)
one_way_p = primitive("border_one_way", lambda x: 2 * x)
ad.primitive_jvps[one_way_p] = lambda primals, tangents: (one_way_p.bind(*primals), one_way_p.bind(*tangents))
