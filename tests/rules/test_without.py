"""The primitives without a rule: those of no gradient are constant indeed, those refused are refused."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import checkify, io_callback
from jax.extend.core import Primitive, primitives
from jax.extend.random import threefry_2x32
from jax.lax import linalg

from funcnet import grad
from funcnet._errors import MissingRuleError
from funcnet._jax import open_jaxpr
from funcnet.rules import PIECEWISE_CONSTANT, REFUSED

FLOATS = np.float32([0.3, 1.7])
WHOLE = np.int32([3, 5])
SQUARE = np.float32([[2, 1], [1, 3]])


def identity(x):
    return x


identity.__module__ = "jax.lax"  # a primitive is JAX's own if JAX says what it computes


def primitive_of_name(name):
    """An identity that is one of JAX's primitives, by this name."""
    primitive = Primitive(name)
    primitive.def_abstract_eval(identity)
    primitive.def_impl(identity)
    return primitive


@pytest.mark.parametrize("name", PIECEWISE_CONSTANT)
def test_no_gradient_flows_through(name):
    primitive = primitive_of_name(name)
    assert grad(lambda x: 3 * primitive.bind(x) + 5 * x)(2.0) == 5


@pytest.mark.parametrize("name", REFUSED)
def test_a_gradient_is_refused_by(name):
    primitive = primitive_of_name(name)
    with pytest.raises(MissingRuleError, match=f"{name!r} has no gradient, .*: {re.escape(REFUSED[name])}"):
        grad(lambda x: 3 * primitive.bind(x) + 5 * x)(2.0)


def random(key):
    key = jax.random.clone(jax.random.fold_in(jax.random.split(key)[0], jax.random.bits(jax.random.key(3))))
    return jax.random.wrap_key_data(jax.random.key_data(key))


def told(x):
    jax.debug.callback(print, x)
    jax.debug.print("{}", x)
    jax.debug.inspect_array_sharding(x, callback=print)
    checkify.check(jnp.all(x > 0), "not positive")


CONSTANT = [
    (lambda x: (lax.floor(x), lax.ceil(x), lax.round(x), lax.is_finite(x), lax.stop_gradient(x)), FLOATS),
    (lambda x: (x == 1, x != 1, x > 1, x >= 1, x < 1, x <= 1), FLOATS),
    (lambda x: [getattr(primitives, f"{name}_to_p").bind(x, x) for name in ("eq", "le", "lt")], FLOATS),
    (lambda x: (lax.argmax(x, 0, np.int32), lax.argmin(x, 0, np.int32)), FLOATS),
    (lambda n: (n & n, n | n, n ^ n, ~n, n << n, n >> n, lax.shift_right_logical(n, n)), WHOLE),
    (lambda n: (lax.population_count(n), lax.clz(n), lax.mulhi(n, n)), WHOLE),
    (lambda b: (lax.reduce_and(b, [0]), lax.reduce_or(b, [0]), lax.reduce_xor(b, [0])), WHOLE > 3),
    (lambda x: (lax.iota(np.int32, 3), lax.empty((2,), np.float32), lax.axis_index("i")), FLOATS),
    (lambda x: lax.after_all(lax.create_token(x)), FLOATS),
    (lambda n: linalg.lu_pivots_to_permutation(n, 7), WHOLE),
    (random, jax.random.key(0)),
    (lambda bits: lax.rng_bit_generator(bits, (2,)), np.zeros(4, np.uint32)),
    (lambda bits: threefry_2x32(bits, bits), np.zeros(2, np.uint32)),
    (told, FLOATS),
]
ONLY_IN_JAX = {  # what JAX writes itself, around or inside of others, or for sizes that are not numbers
    *("dce_sink", "empty2", "iota_2x32_shape", "threefry4x32", "philox2x32", "philox4x32", "dimension_size"),
}


def equations(jaxpr):
    """All of a program, those of the programs in it too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_program):
            if is_program(value):
                yield from equations(open_jaxpr(value)[0])


def is_float(variable):
    return jnp.issubdtype(getattr(variable.aval, "dtype", bool), jnp.inexact)


def is_program(value):
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def without_rule():
    """The equations of the programs above whose primitives count as piecewise constant."""
    programs = [jax.make_jaxpr(function, axis_env=[("i", 2)])(x).jaxpr for function, x in CONSTANT]
    return [eqn for jaxpr in programs for eqn in equations(jaxpr) if eqn.primitive.name in PIECEWISE_CONSTANT]


def test_what_counts_as_piecewise_constant_is():
    """It makes no float out of floats, or the same one out of all in the neighbourhood."""
    found = without_rule()
    assert set(PIECEWISE_CONSTANT) - {eqn.primitive.name for eqn in found} == ONLY_IN_JAX
    makes_floats = {
        eqn.primitive.name: eqn
        for eqn in found
        if any(map(is_float, eqn.invars)) and any(map(is_float, eqn.outvars))
    }
    del makes_floats["stop_gradient"]
    assert set(makes_floats) == {"floor", "ceil", "round"}
    for eqn in makes_floats.values():
        values = [eqn.primitive.bind(FLOATS + step, **eqn.params) for step in (0, 1e-3, -1e-3, 0.1, -0.1)]
        np.testing.assert_array_equal(values[1:], [values[0]] * 4)


PROGRAMS = {
    "pure_callback": (lambda x: jax.pure_callback(np.sin, x, x), FLOATS),
    "io_callback": (lambda x: io_callback(np.sin, x, x), FLOATS),
    "ffi_call": (lambda x: jax.ffi.ffi_call("sine", x)(x), FLOATS),
    "bitcast_convert_type": (lambda x: lax.bitcast_convert_type(x, np.float16), FLOATS),
    "nextafter": (lambda x: lax.nextafter(x, x), FLOATS),
    "rng_uniform": (lambda x: lax.rng_uniform(x[0], x[1], (2,)), FLOATS),
    "zeta": (lambda x: lax.zeta(x, x), FLOATS),
    "igamma_grad_a": (lambda x: lax.igamma_grad_a(x, x), FLOATS),
    "householder_product": (lambda a: linalg.householder_product(a, FLOATS), SQUARE),
    "ormqr": (lambda a: linalg.ormqr(a, FLOATS, SQUARE), SQUARE),
    "cholesky_update": (lambda a: linalg.cholesky_update(a, FLOATS), SQUARE),
    "hessenberg": (lambda a: linalg.hessenberg(a)[0], SQUARE),
    "schur": (lambda a: linalg.schur(a)[0], SQUARE),
    "tridiagonal": (lambda a: linalg.tridiagonal(a)[0], SQUARE),
    "pmax": (jax.vmap(lambda x: lax.pmax(x, "i"), axis_name="i"), FLOATS),
    "pmin": (jax.vmap(lambda x: lax.pmin(x, "i"), axis_name="i"), FLOATS),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_refused_that_uses(name):
    function, x = PROGRAMS[name]
    with pytest.raises(MissingRuleError, match=rf"{name!r} has no gradient, used at .*test_without\.py"):
        grad(lambda x: jnp.sum(function(x)))(x)
