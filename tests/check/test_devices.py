"""Rules inside of shard_map and custom_vmap."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from funcnet import check_vjp
from tests.check.functions import FAST, X, sine
from tests.check.rows import custom

pytestmark = pytest.mark.in_turns(2)

ON_DEVICES = """
import jax, jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec
from funcnet import VJPCheckError, check_vjp

mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))

def rule(factor):
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, y_bar: (factor * y_bar * jnp.cos(x),))
    return f

for checked in (True, False):
    for factor in (1.0, 1.01):
        f = rule(factor)
        spread = jax.shard_map(
            lambda x: f(x) * jax.lax.psum(x.sum(), "d"), mesh=mesh, in_specs=PartitionSpec("d"),
            out_specs=PartitionSpec("d"), check_vma=checked,
        )
        try:
            check_vjp(spread, jnp.arange(8.0) / 4 - 0.7)
            print(checked, factor, "right")
        except VJPCheckError as error:
            print(checked, factor, error.verdict)
"""


def test_a_rule_inside_of_shard_map():
    flags = f"--xla_force_host_platform_device_count=4 {os.environ.get('XLA_FLAGS', '')}"
    done = subprocess.run(
        [sys.executable, "-c", ON_DEVICES],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": flags},
    )
    expected = [f"{checked} {one}" for checked in (True, False) for one in ("1.0 right", "1.01 WRONG")]
    assert done.stdout.splitlines() == expected, done.stderr


def test_custom_vmap_inside_of_a_rule():
    @jax.custom_batching.custom_vmap
    def f(x):
        return jnp.sin(x)

    f.def_vmap(lambda axis_size, batched, x: (jnp.sin(x), True))
    check_vjp(custom(lambda x: f(x), lambda args, y_bar: (y_bar * jnp.cos(args[0]),)), X)
    check_vjp(sine, X, **FAST)
