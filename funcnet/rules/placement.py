"""Identities: y is x, in another place, layout or order of execution.

Their gradient is ȳ. What was moved is moved back; what was only named, copied or tied to something
else is not.
"""

import jax
from jax import lax
from jax.experimental import multihost_utils

from funcnet.rules._table import rule


@rule("copy", "stage", "name", formula="x̄ = ȳ", source="CS231n 2019, lecture 4, slide 82")
def identity(y_bar, y, x, *, name=None):
    return (y_bar,)


@rule("relayout", formula="x̄ = ȳ", source="CS231n 2019, lecture 4, slide 82")
def relayout(y_bar, y, x, *, dst_layout):
    return (y_bar,)


@rule("with_memory_space_constraint", formula="x̄ = ȳ", source="CS231n 2019, lecture 4, slide 82")
def with_memory_space_constraint(y_bar, y, x, *, memory_space):
    return (y_bar,)


@rule("xla_metadata_value", formula="x̄ = ȳ", source="CS231n 2019, lecture 4, slide 82")
def with_metadata(y_bar, y, x, *, xla_metadata_kvs):
    return (y_bar,)


@rule("shard_alike", formula="x̄ᵢ = ȳᵢ", source="Xu et al. 2021, GSPMD, §3.5")
def shard_alike(y_bar, y, x1, x2):
    return y_bar


@rule("host_local_array_to_global_array", formula="x̄ = ȳ", source="CS231n 2019, lecture 4, slide 82")
def host_local_array_to_global_array(y_bar, y, x, *, global_mesh, pspec):
    return (multihost_utils.global_array_to_host_local_array(y_bar, global_mesh, pspec),)


@rule("global_array_to_host_local_array", formula="x̄ = ȳ", source="CS231n 2019, lecture 4, slide 82")
def global_array_to_host_local_array(y_bar, y, x, *, global_mesh, pspec):
    return (multihost_utils.host_local_array_to_global_array(y_bar, global_mesh, pspec),)


@rule("tie", formula="x̄₁ = 0,  x̄₂ = ȳ", source="CS231n 2019, lecture 4, slide 82")
def tie(y_bar, y, x1, x2):
    return None, y_bar


@rule("sharding_constraint", formula="x̄ = ȳ", source="Xu et al. 2021, GSPMD, §3.5")
def sharding_constraint(y_bar, y, x, *, layout, context_mesh, unconstrained_dims):
    """The partitioner carries the sharding of x over to x̄."""
    return (y_bar,)


@rule("layout_constraint", formula="x̄ = ȳ", source="CS231n 2019, lecture 4, slide 82")
def layout_constraint(y_bar, y, x, *, layout):
    return (y_bar,)


@rule("reshard", formula="x̄ = ȳ", source="Xu et al. 2021, GSPMD, §3.5")
def reshard(y_bar, y, x, *, dst_sharding, concrete_mesh):
    return (jax.sharding.reshard(y_bar, jax.typeof(x).sharding),)


@rule("optimization_barrier", formula="x̄ᵢ = ȳᵢ", source="CS231n 2019, lecture 4, slide 82")
def optimization_barrier(y_bar, y, *xs):
    """The gradients pass a barrier too: what was to be kept apart stays apart."""
    return tuple(lax.optimization_barrier(list(y_bar)))


@rule("device_put", formula="x̄ᵢ = ȳᵢ", source="CS231n 2019, lecture 4, slide 82")
def device_put(y_bar, y, *xs, devices, srcs, copy_semantics):
    """Back to where x came from, where that is known."""
    return tuple(
        None if bar is None else _back(bar, src, x) for bar, src, x in zip(y_bar, srcs, xs, strict=True)
    )


def _back(y_bar, src, x):
    space = jax.typeof(x).memory_space
    if src is None and space != jax.typeof(y_bar).memory_space:
        src = space
    return y_bar if src is None else jax.device_put(y_bar, src)
