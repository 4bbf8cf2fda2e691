"""The rules of collectives: under vmap with a named axis here, on four devices in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

import funcnet
from funcnet import RULES
from funcnet._errors import MissingRuleError
from funcnet.rules.collectives import COLLECTIVE, JEP

CYCLE = [(0, 1), (1, 3), (2, 0), (3, 2)]


def one_takes(y):
    """y for one member and 0 for the others, whose own cotangents come back to all from that one."""
    return jnp.where(lax.axis_index("i") == 1, y, 0.0)


# Each a function of x[2, 4], of which every member has its own, and of w[4, 3], which all share.
EVERYWHERE = {
    "psum": lambda x, w: lax.psum(x * x, "i") * x,
    "all_gather": lambda x, w: lax.all_gather(x * x, "i", axis=1),
    "all_gather, tiled": lambda x, w: lax.all_gather(x * x, "i", axis=1, tiled=True),
    "reduce_scatter": lambda x, w: lax.psum_scatter(x * x, "i", scatter_dimension=1),
    "reduce_scatter, tiled": lambda x, w: lax.psum_scatter(x * x, "i", scatter_dimension=1, tiled=True),
    "ppermute": lambda x, w: lax.ppermute(x * x, "i", CYCLE) * x,
    "all_to_all, same axis": lambda x, w: lax.all_to_all(x * x, "i", 1, 1) * x,
    "all_to_all, tiled": lambda x, w: lax.all_to_all(x * x, "i", 1, 0, tiled=True),
    "axis_index": lambda x, w: x * x * (1.0 + lax.axis_index("i")),
    "shared weights": lambda x, w: lax.dot(x * x, w * w),
    "a loss that all share": lambda x, w: lax.psum(lax.dot(x, w) ** 2, "i"),
    "psum, taken by one": lambda x, w: one_takes(lax.psum(jnp.sin(x), "i") * x),
    "all_gather, taken by one": lambda x, w: one_takes(lax.all_gather(jnp.sin(x), "i")),
    "ppermute, taken by one": lambda x, w: one_takes(lax.ppermute(jnp.sin(x), "i", CYCLE) * x),
    "psum in a scan, taken by one": lambda x, w: one_takes(
        lax.scan(lambda c, _: (jnp.sin(lax.psum(c, "i")) * x, None), x, length=2)[0]
    ),
    "weights that all share, taken by one": lambda x, w: one_takes(lax.dot(jnp.sin(x), w * w)),
}
REFUSED_BY_JAX = {"all_to_all": lambda x, w: lax.all_to_all(x * x, "i", 1, 0)}
ON_DEVICES = {
    "all_gather_invariant": lambda x, w: lax.all_gather(x * x, "i", axis=1, to="invarying"),
    "all_gather_invariant, tiled": lambda x, w: lax.all_gather(
        x * x, "i", axis=1, tiled=True, to="invarying"
    ),
    "ppermute, some send nothing": lambda x, w: lax.ppermute(x * x, "i", CYCLE[:2]) * x,
}
IN_GROUPS = {
    "psum, in groups": lambda x, w: lax.psum(x * x, "i", axis_index_groups=[[0, 2], [3, 1]]) * x,
    "all_gather, in groups": lambda x, w: lax.all_gather(x * x, "i", axis_index_groups=[[0, 2], [3, 1]]),
    "reduce_scatter, in groups": lambda x, w: lax.psum_scatter(
        x * x, "i", scatter_dimension=1, tiled=True, axis_index_groups=[[0, 2], [3, 1]]
    ),
    "all_to_all, in groups": lambda x, w: lax.all_to_all(
        x * x, "i", 1, 0, tiled=True, axis_index_groups=[[0, 2], [3, 1]]
    ),
}


def first(vjp, function, x, w):
    """The gradients for an upstream gradient that varies from device to device where y does."""
    y, pullback = vjp(function, x, w)
    return pullback(jnp.cos(y))


def second(vjp, function, x, w):
    """The gradients of what `first` gives, once more."""
    x_bars, pullback = vjp(lambda x, w: first(vjp, function, x, w), x, w)
    return pullback(jax.tree.map(jnp.sin, x_bars))


def sample():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(4, 2, 4))), jnp.asarray(rng.normal(size=(4, 3)))


def inside_vmap(order, vjp, function):
    """One gradient for each member: of its x, and its part of the gradient of w."""
    return jax.jit(jax.vmap(lambda x, w: order(vjp, function, x, w), axis_name="i", in_axes=(0, None)))(
        *sample()
    )


def outside_vmap(order, function):
    """JAX's gradient of the whole batch, in which `vmap` has made ordinary operations of all collectives."""
    x, w = sample()
    batched = jax.vmap(function, axis_name="i")
    x_bar, w_bar = jax.jit(lambda x, w: order(jax.vjp, batched, x, w))(x, jnp.stack([w] * 4))
    return x_bar, w_bar


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("order", [first, second])
@pytest.mark.parametrize("name", [*EVERYWHERE, *REFUSED_BY_JAX])
def test_gradient_under_vmap_is_the_gradient_of_the_batch(name, order):
    function = (EVERYWHERE | REFUSED_BY_JAX)[name]
    for ours, reference in zip(
        inside_vmap(order, funcnet.vjp, function), outside_vmap(order, function), strict=True
    ):
        np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["pbroadcast", "pbroadcast_dynamic"])
def test_broadcast_sends_the_sum_back_to_its_source(name):
    """JAX cannot run the primitives here, forward or back: pbroadcast is for GPUs, and has no vmap."""

    def x_bar(y_bar):
        if name == "pbroadcast":
            return RULES[name](y_bar, None, y_bar, axis_name="i", source=2)[0]
        return RULES[name](y_bar, None, y_bar, jnp.int32(2), axis_name="i")[0]

    y_bars = jnp.arange(8.0).reshape(4, 2)
    expected = jnp.zeros((4, 2)).at[2].set(y_bars.sum(0))
    np.testing.assert_array_equal(jax.vmap(x_bar, axis_name="i")(y_bars), expected)


def test_all_of_them_are_known_to_be_between_devices():
    assert {name for name, one in RULES.items() if one.source == JEP} == COLLECTIVE


def test_largest_over_devices_is_refused():
    with pytest.raises(MissingRuleError, match=r"'pmax' has no gradient.*all_gather"):
        jax.vmap(funcnet.grad(lambda x: lax.pmax(x, "i")), axis_name="i")(jnp.ones(4))


def on_devices(order, vjp, functions, check_vma):
    """The gradients of all functions, each computed inside one shard_map over all devices."""
    mesh = jax.make_mesh((jax.device_count(),), ("i",), axis_types=(AxisType.Auto,))

    def inside(x, w):
        both = {name: order(vjp, function, x[0], w) for name, function in functions.items()}
        x_bars = {name: x_bar[None] for name, (x_bar, _) in both.items()}
        return x_bars, {name: w_bar if check_vma else w_bar[None] for name, (_, w_bar) in both.items()}

    out = PartitionSpec("i"), PartitionSpec() if check_vma else PartitionSpec("i")
    run = jax.shard_map(
        inside, mesh=mesh, in_specs=(PartitionSpec("i"), PartitionSpec()), out_specs=out, check_vma=check_vma
    )
    return jax.jit(run)(*sample())


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["psum", "all_gather_invariant"])
def test_gradient_on_one_device_is_that_of_jax(name):
    """In this process; psum_invariant and pvary are what a psum becomes here."""
    functions = {name: (EVERYWHERE | ON_DEVICES)[name]}
    ours, reference = (on_devices(first, vjp, functions, True) for vjp in (funcnet.vjp, jax.vjp))
    chex.assert_trees_all_close(ours, reference, rtol=1e-12, atol=1e-12)


def compare_on_devices():
    """Run in a process with four devices; see the test below."""
    jax.config.update("jax_enable_x64", True)
    shared = {name: EVERYWHERE[name] for name in ("shared weights", "a loss that all share")}
    for order, check_vma, functions in [
        (first, True, EVERYWHERE | ON_DEVICES),
        (first, False, EVERYWHERE | ON_DEVICES | IN_GROUPS),
        (second, True, shared | ON_DEVICES),
    ]:
        ours = on_devices(order, funcnet.vjp, functions | REFUSED_BY_JAX, check_vma)
        reference = on_devices(order, jax.vjp, functions, check_vma)
        for name, function in REFUSED_BY_JAX.items():
            x_bar, w_bar = outside_vmap(order, function)
            reference[0][name], reference[1][name] = x_bar, w_bar[0] if check_vma else w_bar
        chex.assert_trees_all_close(ours, reference, rtol=1e-12, atol=1e-12)

    x, w = sample()
    _, whole = jax.grad(lambda x, w: jnp.sum(jnp.dot(x, w) ** 2), argnums=(0, 1))(x, w)
    share = {"loss": lambda x, w: lax.psum(jnp.sum(jnp.dot(x, w) ** 2), "i")}
    ours = on_devices(lambda vjp, loss, x, w: vjp(loss, x, w)[1](1.0), funcnet.vjp, share, True)[1]["loss"]
    np.testing.assert_allclose(ours, whole, rtol=1e-12)
    compare_products_of_sharded_arrays()


def compare_products_of_sharded_arrays():
    """A gradient lies where its array does, also where both factors spread the summed axis over devices."""
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    rng = np.random.default_rng(0)
    for function, shapes, axes in [
        (lax.dot, [(4, 6), (6, 2)], [("data", None), (None, "model")]),
        (
            lambda x, w: lax.conv_general_dilated(x, w, (1,), "SAME"),
            [(4, 2, 5), (4, 2, 3)],
            [("data", None, None), (None, None, None)],
        ),
    ]:
        xs = [jnp.asarray(rng.normal(size=shape)) for shape in shapes]
        reference = first(jax.vjp, function, *xs)
        with jax.set_mesh(mesh):
            placed = [jax.device_put(x, PartitionSpec(*spec)) for x, spec in zip(xs, axes, strict=True)]
            gradients = jax.jit(lambda *xs, function=function: first(funcnet.vjp, function, *xs))(*placed)
        chex.assert_trees_all_close(gradients, reference, rtol=1e-12)
        assert [x_bar.sharding for x_bar in gradients] == [x.sharding for x in placed]


def test_gradients_on_four_devices():
    """Inside shard_map, with and without types that say what varies, and for arrays of explicit sharding."""
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    program = "from tests.rules.test_collectives import compare_on_devices; compare_on_devices()"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
