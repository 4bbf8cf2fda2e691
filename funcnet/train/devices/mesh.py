"""Where a run's arrays are: parameters, the optimizer's state and batches, spread over a mesh of devices.

JAX's own sharding does the work (Xu et al. 2021, GSPMD): arrays say where their parts are, and XLA inserts
what has to be sent. A batch is spread over the mesh's axis "data". Parameters are

    replicated    whole on each device: data parallel
    zero1         so are they, but each device keeps a part of the optimizer's state (Rajbhandari et al. 2020)
    zero3         each device keeps a part of both: fully sharded, gathered layer by layer where it is used
    as they come  where their own shardings say, as `tensor_parallel` (Shoeybi et al. 2019) makes them

A part of an array is one of its longest axis that the number of devices divides; an array that has none is
replicated. With several processes each has its part of an array on its own devices, and whatever is given as
a local array must be the same in all of them.
"""

from typing import Any, Literal, NamedTuple, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from funcnet._errors import ParameterError, came
from funcnet._types import Params
from funcnet.train.devices.canonical import CHUNKS, DATA

Tree = TypeVar("Tree")
Layout = Literal["replicated", "zero1", "zero3"]


class Devices(NamedTuple):
    """Over which devices a step is spread, and how.

    Attributes:
        mesh: its axis "data" is that of the batch; None for wherever the arrays are.
        shardings: where the leaves of the next state are; empty for wherever XLA puts them.
        reproducible: whether gradients are added in one order (`funcnet.train.devices.canonical`).
    """

    mesh: Mesh | None = None
    shardings: tuple[NamedSharding, ...] = ()
    reproducible: bool = False

    def stay(self, state: Tree) -> Tree:
        """A traced State where its shardings say: the same one, to XLA."""
        leaves, structure = jax.tree.flatten(state)
        return structure.unflatten(map(spread, leaves, self.shardings)) if self.shardings else state


def data_mesh(devices: int | None = None) -> Mesh:
    """A mesh of so many devices, all there are by default, of all processes, with the one axis "data".

    Raises:
        ParameterError: there are fewer.

    >>> data_mesh(1).shape["data"]
    1
    """
    there = jax.devices()
    count = len(there) if devices is None else devices
    if not 1 <= count <= len(there):
        raise ParameterError(
            f"devices is {devices}; expected 1 to {len(there)}, as many as there are. A CPU counts as one; "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={devices} makes it so many."
        )
    if jax.process_count() > 1 and count != len(there):
        raise ParameterError(
            f"devices is {devices}; expected {len(there)}, all devices of the {jax.process_count()} processes"
        )
    return jax.make_mesh((count,), (DATA,), axis_types=(AxisType.Auto,), devices=there[:count])


def spread_state(
    state: Tree, mesh: Mesh | None, layout: Layout | None, reproducible: bool | None, watch: int = 0
) -> tuple[Tree, Devices]:
    """A State on a mesh, and what its steps are to know of that; see `fit`.

    Raises:
        ParameterError: the mesh has no axis "data", there is no such layout, or no one order for it.
    """
    if mesh is None:
        if layout is not None:
            raise ParameterError(
                f"layout is {came(layout)} without a mesh; give mesh=funcnet.train.data_mesh()"
            )
        return state, Devices(reproducible=in_one_order_on(None, True, reproducible, watch))
    check_mesh(mesh)
    if layout not in (None, *get_args(Layout)):
        raise ParameterError(
            f"layout is {came(layout)}; expected one of {', '.join(get_args(Layout))}, or None"
        )
    where = layout_of(state, mesh, layout)
    shardings = tuple(jax.tree.leaves(where))
    whole = all(sharding.is_fully_replicated for sharding in shardings)
    one_order = in_one_order_on(mesh, whole, reproducible, watch)
    return jax.tree.map(placed, state, where), Devices(mesh, shardings, one_order)


def check_mesh(mesh: Any) -> None:
    """Nothing, if batches can be spread over a mesh.

    Raises:
        ParameterError: it is none, or has no axis "data".
    """
    if not isinstance(mesh, Mesh) or DATA not in mesh.axis_names:
        what = f"of the axes {', '.join(map(str, mesh.axis_names))}" if isinstance(mesh, Mesh) else came(mesh)
        raise ParameterError(
            f"mesh is {what}; expected a jax.sharding.Mesh with an axis {DATA!r}, over which batches are "
            f"spread, as funcnet.train.data_mesh() makes it"
        )


def in_one_order_on(mesh: Mesh | None, replicated: bool, asked: bool | None, watch: int = 0) -> bool:
    """Whether gradients are added in one order: as asked, or by default on a mesh where that can be.

    Raises:
        ParameterError: it cannot be.
    """
    if watch:
        cannot = "watch measures the gradients of whole batches: watch without reproducible"
    elif not replicated:
        cannot = "the parameters are spread over devices: take layout 'replicated'"
    elif mesh and (mesh.axis_names != (DATA,) or CHUNKS % mesh.size):
        cannot = f"the mesh is {dict(mesh.shape)}: take 1, 2, 4 or {CHUNKS} devices in the one axis {DATA!r}"
    else:
        return mesh is not None if asked is None else asked
    if asked:
        raise ParameterError(f"reproducible is True, and {cannot}; there is no one order of additions then")
    return False


def layout_of(state: Tree, mesh: Mesh, layout: str | None) -> Tree:
    """The sharding of each leaf of a State."""

    def of(path: tuple, leaf: Any) -> NamedSharding:
        is_param = path[0] == jax.tree_util.GetAttrKey("params")
        if layout == "zero3" or (layout == "zero1" and not is_param):
            return _part(leaf, mesh)
        kept = getattr(leaf, "sharding", None)
        if layout is None and isinstance(kept, NamedSharding) and kept.mesh == mesh:
            return kept
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree.map_with_path(of, state)


def _part(leaf: Any, mesh: Mesh) -> NamedSharding:
    """Spread over "data" along the longest axis of which that is possible."""
    axes = [axis for axis, length in enumerate(leaf.shape) if length and length % mesh.shape[DATA] == 0]
    longest = max(axes, key=lambda axis: leaf.shape[axis], default=None)
    spec = [DATA if axis == longest else None for axis in range(leaf.ndim)]
    return NamedSharding(mesh, PartitionSpec(*spec))


def tensor_parallel(params: Params, mesh: Mesh, axis: str = "model") -> Params:
    """An MLP's parameters with every other layer split by its outputs, and those between by their inputs.

    So a hidden layer's activations are spread over the axis, and one sum over it for each pair of layers is
    all that is sent (Shoeybi et al. 2019, §3).

    Args:
        params: as `funcnet.nn.init_mlp` makes them: {"layer1": {"w": [in, out], "b": [out]}, …}.
        mesh: the devices.
        axis: the mesh's axis whose size divides the hidden layers.

    Raises:
        ParameterError: the mesh has no such axis, or it does not divide a hidden layer.
    """
    if axis not in mesh.axis_names:
        raise ParameterError(
            f"axis is {came(axis)}; expected one of the mesh's, {', '.join(mesh.axis_names)}"
        )
    placed_ = {}
    for number in range(1, len(params) + 1):
        layer = params[f"layer{number}"]
        w, b = layer["w"], layer["b"]
        by_outputs = number % 2 == 1 and number < len(params)
        split, name = (w.shape[-1], "outputs") if by_outputs else (w.shape[0], "inputs")
        whole = number % 2 == 1 and number == len(params)
        if not whole and split % mesh.shape[axis]:
            raise ParameterError(
                f"layer{number} has {split} {name}, which the {mesh.shape[axis]} devices of {axis!r} do not "
                f"divide; take a hidden layer of a multiple of that"
            )
        inner = (None,) * (w.ndim - 2)
        specs = {
            "w": PartitionSpec()
            if whole
            else PartitionSpec(*((None, *inner, axis) if by_outputs else (axis,))),
            "b": PartitionSpec(*((None,) * (b.ndim - 1)), axis) if by_outputs else PartitionSpec(),
        }
        placed_[f"layer{number}"] = {
            key: placed(layer[key], NamedSharding(mesh, spec)) for key, spec in specs.items()
        }
    return placed_


def placed(leaf: Any, sharding: Sharding) -> jax.Array:
    """An array where its sharding says, of which every process has the whole."""
    if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
        return leaf
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def replicated(tree: Tree, mesh: Mesh) -> Tree:
    """A tree of arrays whole on each device, but for those that are on the mesh already."""

    def of(leaf: Any) -> jax.Array:
        kept = getattr(leaf, "sharding", None)
        if isinstance(kept, NamedSharding) and kept.mesh == mesh:
            return leaf
        return placed(leaf, NamedSharding(mesh, PartitionSpec()))

    return jax.tree.map(of, tree)


def rows_spread(batch: Tree, mesh: Mesh) -> Tree:
    """A batch, within a traced step, with its rows spread over "data"; what has none is replicated."""

    def of(leaf: jax.Array) -> jax.Array:
        has_rows = leaf.ndim and leaf.shape[0] % mesh.shape[DATA] == 0
        return spread(leaf, NamedSharding(mesh, PartitionSpec(DATA) if has_rows else PartitionSpec()))

    return jax.tree.map(of, batch)


def spread(leaf: jax.Array, sharding: NamedSharding) -> jax.Array:
    """An array, within a traced step, where a sharding says."""
    if AxisType.Explicit in sharding.mesh.axis_types:
        return jax.sharding.reshard(leaf, sharding)
    return jax.lax.with_sharding_constraint(leaf, sharding)


def on_one_device(tree: Tree) -> Tree:
    """A tree of arrays, each whole, on one device of this process."""
    return jax.tree.map(lambda leaf: jnp.asarray(_whole(leaf).addressable_data(0)), tree)


def on_the_host(tree: Any, mine: bool = True) -> Any:
    """A tree of NumPy's arrays, each whole, of which a device has no more than one at a time.

    All processes take part; those of which it is not have None for each array. NumPy has no keys of JAX's.
    """

    def fetched(leaf: jax.Array) -> np.ndarray | jax.Array | None:
        whole = leaf if leaf.is_fully_addressable else _whole(leaf).addressable_data(0)
        whole.block_until_ready()  # before the next one is asked for
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return whole
        return np.asarray(whole) if mine else None

    return jax.tree.map(fetched, tree)


def _whole(leaf: jax.Array) -> jax.Array:
    """An array whole on each of its devices, for which all their processes must ask."""
    where = leaf.sharding
    if not isinstance(where, NamedSharding) or where.is_fully_replicated:
        return leaf
    return jax.jit(jnp.copy, out_shardings=NamedSharding(where.mesh, PartitionSpec()))(leaf)
