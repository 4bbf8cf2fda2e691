"""Collectives: operations on one value per device, or per member of a `vmap` whose axis has a name.

The loss is the sum of what all devices end with. A collective is then a linear map of the list of the
devices' values, and its rule is the transpose of that map: what was copied comes back as a sum, what
was summed comes back as copies, what moved moves back.

    psum            y_d = Σₑ xₑ              x̄ₑ = Σ_d ȳ_d
    all_gather      y_d = (x₀, x₁, …)        x̄ₑ = Σ_d ȳ_d[e]          which is a psum_scatter
    psum_scatter    y_d = Σₑ xₑ[d]           x̄ₑ = (ȳ₀, ȳ₁, …)         which is an all_gather
    ppermute        y_π(e) = xₑ              x̄ₑ = ȳ_π(e)
    all_to_all      y_d = (x₀[d], x₁[d], …)  x̄ₑ = (ȳ₀[e], ȳ₁[e], …)
    pbroadcast      y_d = x_s                x̄_s = Σ_d ȳ_d, and 0 elsewhere

In `shard_map` the type of a value says along which axes it varies from device to device. Where it does
not it is one value, which the loss counts once, and the maps lead from one to many or back:

    psum_invariant          y = Σₑ xₑ           x̄ₑ = ȳ                which is a pvary
    pvary                   y_d = x             x̄ = Σ_d ȳ_d           which is a psum_invariant
    all_gather_invariant    y = (x₀, x₁, …)     x̄ₑ = ȳ[e]

Under `vmap`, and in `shard_map` with `check_vma=False`, every value counts as varying.
"""

from jax import lax

from funcnet.rules._table import rule

COLLECTIVE = frozenset(
    {
        *("psum", "psum_invariant", "pvary", "all_gather", "all_gather_invariant", "reduce_scatter"),
        *("ppermute", "all_to_all", "pbroadcast", "pbroadcast_dynamic"),
    }
)
"""All of them."""

JEP = "JAX JEP 17111 (2023), Efficient transposition of replication-inducing collectives"


@rule("psum", formula="x̄ₑ = Σ_d ȳ_d", source=JEP)
def psum(y_bar, y, x, *, axes, axis_index_groups):
    """An axis given by its number is an ordinary axis of x: `vmap` has put the members there."""
    names = tuple(axis for axis in axes if not isinstance(axis, int))
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    return (lax.psum(lax.broadcast_in_dim(y_bar, x.shape, kept), names, axis_index_groups=axis_index_groups),)


@rule("psum_invariant", formula="x̄ₑ = ȳ", source=JEP)
def psum_invariant(y_bar, y, x, *, axes):
    return (lax.pcast(y_bar, axes, to="varying"),)


@rule("pvary", formula="x̄ = Σ_d ȳ_d", source=JEP)
def pvary(y_bar, y, x, *, axes):
    return (lax.psum(y_bar, axes),)


@rule("all_gather", formula="x̄ₑ = Σ_d ȳ_d[e]", source=JEP)
def all_gather(y_bar, y, x, *, all_gather_dimension, axis_name, axis_index_groups, axis_size, tiled):
    x_bar = lax.psum_scatter(
        y_bar,
        axis_name,
        scatter_dimension=all_gather_dimension,
        axis_index_groups=axis_index_groups,
        tiled=tiled,
    )
    return (x_bar,)


@rule("all_gather_invariant", formula="x̄ₑ = ȳ[e]", source=JEP)
def all_gather_invariant(y_bar, y, x, *, all_gather_dimension, axis_name, axis_size, tiled):
    width = y.shape[all_gather_dimension] // axis_size
    start = width * lax.axis_index(axis_name)
    mine = lax.dynamic_slice_in_dim(y_bar, start, width, all_gather_dimension)
    return (lax.reshape(mine, x.shape),)


@rule("reduce_scatter", formula="x̄ₑ = (ȳ₀, ȳ₁, …)", source=JEP)
def psum_scatter(y_bar, y, x, *, axis_name, scatter_dimension, axis_index_groups, axis_size, tiled):
    x_bar = lax.all_gather(
        y_bar, axis_name, axis_index_groups=axis_index_groups, axis=scatter_dimension, tiled=tiled
    )
    return (x_bar,)


@rule("ppermute", formula="x̄ₑ = ȳ_π(e), and 0 where e sends nothing", source=JEP)
def ppermute(y_bar, y, x, *, axis_name, perm):
    return (lax.ppermute(y_bar, axis_name, [(target, source) for source, target in perm]),)


@rule("all_to_all", formula="x̄ₑ = (ȳ₀[e], ȳ₁[e], …)", source=JEP)
def all_to_all(y_bar, y, x, *, axis_name, split_axis, concat_axis, axis_index_groups, tiled):
    """In the primitive, unlike in the function, both axes stay, so the way back is tiled in any case."""
    x_bar = lax.all_to_all(
        y_bar, axis_name, concat_axis, split_axis, axis_index_groups=axis_index_groups, tiled=True
    )
    return (x_bar,)


@rule("pbroadcast", formula="x̄_s = Σ_d ȳ_d, and 0 elsewhere", source=JEP)
def pbroadcast(y_bar, y, x, *, axis_name, source):
    return (_only_at(source, lax.psum(y_bar, axis_name), axis_name),)


@rule("pbroadcast_dynamic", formula="x̄_s = Σ_d ȳ_d, and 0 elsewhere", source=JEP)
def pbroadcast_dynamic(y_bar, y, x, source, *, axis_name):
    return _only_at(source, lax.psum(y_bar, axis_name), axis_name), None


def _only_at(source, x_bar, axis_name):
    return lax.select(lax.axis_index(axis_name) == source, x_bar, lax.full_like(x_bar, 0))
