"""What an equation costs: bytes of its values, operations to run it again, and whether that is cheap.

Cheap is what reads each operand about once and computes little of each element: elementwise functions,
changes of shape, reductions. XLA fuses it into its neighbours, and to run it again costs less than to keep
what it makes. Products, convolutions, loops, sorts and random bits are not.
"""

import math
from typing import Any

from funcnet import _jax
from funcnet.rules import ELEMENTWISE, Table, rule_name

_SHAPES = """
    broadcast_in_dim concatenate convert_element_type copy copy_p expand_dims iota pad real imag complex rev
    reshape slice split squeeze stack stop_gradient stopped tile transpose bitcast_convert_type pvary pcast
    optimization_barrier random_wrap random_unwrap name sharding_constraint mesh_cast reshard
"""
_COMPARISONS = """
    eq ne lt le gt ge eq_to lt_to le_to and or xor not is_finite floor ceil round sign rem nextafter
    shift_left shift_right_logical shift_right_arithmetic population_count clz select_n clamp max min
"""
_REDUCTIONS = """
    reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or argmax argmin
    jax.nn.softmax jax.nn.log_softmax jax.nn.logsumexp
"""
CHEAP = ELEMENTWISE | {*_SHAPES.split(), *_COMPARISONS.split(), *_REDUCTIONS.split()}
"""Names of primitives and of functions of JAX's that are cheap to run again."""


def bytes_of(aval: Any) -> int:
    """Bytes of a value of this type; 0 where it is no array."""
    size, dtype = getattr(aval, "size", 0), getattr(aval, "dtype", None)
    return size * dtype.itemsize if dtype is not None else 0


def operations(eqn: _jax.Equation) -> int:
    """About how many floating-point operations an equation takes."""
    name, params = eqn.primitive.name, eqn.params
    out = max((getattr(v.aval, "size", 1) for v in eqn.outvars), default=0)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return 2 * out * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = eqn.invars[1].aval
        features = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
        return 2 * out * kernel.size // features
    inner = [sum(map(operations, jaxpr.eqns)) for jaxpr, _ in _jax.programs(eqn)]
    if name == "cond":
        return max(inner)
    if inner:
        return params.get("length", 1) * sum(inner)
    return max([out, *(getattr(atom.aval, "size", 1) for atom in eqn.invars)])


def is_cheap(eqn: _jax.Equation, rules: Table) -> bool:
    """Whether an equation is cheap to run again."""
    if eqn.effects:
        return False
    name = rule_name(eqn.primitive, eqn.params, rules)
    if name in CHEAP or name.partition("(")[0] in CHEAP:
        return True
    inner = _jax.programs(eqn) if eqn.primitive.name in ("jit", "custom_jvp_call", "custom_vjp_call") else []
    return bool(inner) and all(is_cheap(one, rules) for jaxpr, _ in inner for one in jaxpr.eqns)
