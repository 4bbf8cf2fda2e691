"""The rules of identities: a value in another place, layout or order of execution, row by row."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax._src.lax.lax import tie_p  # in no public module, but in programs that JAX makes
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import multihost_utils
from jax.experimental.layout import Layout, with_layout_constraint
from jax.experimental.xla_metadata import set_xla_metadata
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from funcnet import RULES, vjp
from tests.rules.rows import Row, check, each, normal


def mesh(axis_type):
    return jax.make_mesh((1,), ("x",), axis_types=(axis_type,))


def constrained(x):
    return lax.with_sharding_constraint(x, NamedSharding(mesh(AxisType.Auto), PartitionSpec("x")))


def to_global(x):
    return multihost_utils.host_local_array_to_global_array(x, mesh(AxisType.Auto), PartitionSpec("x"))


def to_local(x):
    return multihost_utils.global_array_to_host_local_array(x, mesh(AxisType.Auto), PartitionSpec("x"))


ROWS = [
    Row("copy", lambda x: jnp.array(x, copy=True), normal((3,))),
    Row("tie", lambda x, y: tie_p.bind(x, y) * x, normal((3,), (3,))),
    Row("name", lambda x: checkpoint_name(x, "kept"), normal((3,))),
    Row("optimization_barrier", lambda x, y: lax.optimization_barrier((x, y)), normal((3,), (2,))),
    Row(
        "optimization_barrier",
        lambda x, y: lax.optimization_barrier((x, y))[1] * x,
        normal((3,), (3,)),
        name="one of two",
    ),
    Row("device_put", lambda x: jax.device_put(x, jax.devices()[0]), normal((3,))),
    Row("device_put", lambda x, y: jax.device_put((x, y))[1] * x, normal((3,), (3,)), name="one of two"),
    Row("sharding_constraint", constrained, normal((3,))),
    Row("host_local_array_to_global_array", lambda x: to_global(x * 2), normal((3,))),
    Row("global_array_to_host_local_array", lambda x: to_local(to_global(x) * 2), normal((3,))),
    Row("xla_metadata_value", lambda x: set_xla_metadata(x * 2, tag="doubled"), normal((3,))),
    Row("layout_constraint", lambda x: with_layout_constraint(x, Layout((1, 0))), normal((3, 2))),
]
if importlib.util.find_spec("jax.experimental.shard_alike"):  # not in JAX 0.12
    from jax.experimental.shard_alike import shard_alike

    ROWS.append(Row("shard_alike", lambda x, y: jnp.stack(shard_alike(x, y)), normal((3,), (3,))))


@each(ROWS)
def test_rule(row):
    check(row)


def test_stage_is_a_copy():
    """JAX takes it out of every program that it traces, so no row can show it."""
    assert RULES["stage"] is RULES["copy"]


def test_a_new_layout_hands_the_gradient_on():
    """JAX itself can make such a program for some devices only."""
    (x_bar,) = RULES["relayout"](np.float32([2, -3]), None, np.float32([0, 1]), dst_layout=None)
    np.testing.assert_array_equal(x_bar, [2, -3])


def test_another_memory_hands_the_gradient_on():
    """JAX itself can make such a program for some devices only."""
    constrained_to_memory = RULES["with_memory_space_constraint"]
    (x_bar,) = constrained_to_memory(np.float32([2, -3]), None, np.float32([0, 1]), memory_space=None)
    np.testing.assert_array_equal(x_bar, [2, -3])


def test_a_gradient_comes_back_with_the_sharding_of_its_input():
    with jax.set_mesh(mesh(AxisType.Explicit)):
        x = jax.device_put(jnp.arange(4.0), PartitionSpec("x"))
        y, pullback = vjp(lambda x: 2 * jax.sharding.reshard(x, PartitionSpec(None)), x)
        (x_bar,) = pullback(y)
    assert jax.typeof(y).sharding.spec == PartitionSpec(None)
    assert jax.typeof(x_bar).sharding.spec == PartitionSpec("x")
    np.testing.assert_array_equal(x_bar, 4 * np.arange(4.0))


def test_a_gradient_goes_back_to_the_memory_that_its_input_came_from():
    host = jax.memory.Space.Host
    y, pullback = vjp(
        jax.jit(lambda x: jax.device_put(jax.device_put(x, host) * 1.0, jax.memory.Space.Device)), jnp.ones(2)
    )
    np.testing.assert_array_equal(pullback(y)[0], np.ones(2))
