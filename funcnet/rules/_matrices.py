"""What the rules of linear algebra are written in: products, transposes, triangles of stacked matrices."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def transpose(x: Any) -> Any:
    """xᵀ, without conjugation."""
    return lax.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def conj(x: Any) -> Any:
    """x*; a real matrix is its own conjugate."""
    return lax.conj(x) if jnp.issubdtype(x.dtype, jnp.complexfloating) else x


def adjoint(x: Any) -> Any:
    """xᴴ, the conjugate transpose."""
    return conj(transpose(x))


def dot(a: Any, b: Any) -> Any:
    """The product ab. A factorization amplifies the rounding of what it is given, so at full precision."""
    batch = tuple(range(a.ndim - 2))
    dimensions = (((a.ndim - 1,), (a.ndim - 2,)), (batch, batch))
    return lax.dot_general(a, b, dimensions, precision=lax.Precision.HIGHEST, out_sharding=_lies(a, b))


def _lies(a: Any, b: Any) -> NamedSharding | None:
    """Where a product lies, if types say so: its rows as those of a, its columns as those of b."""
    of_a, of_b = jax.typeof(a).sharding, jax.typeof(b).sharding
    mesh = next((one.mesh for one in (of_a, of_b) if AxisType.Explicit in one.mesh.axis_types), None)
    return mesh and NamedSharding(mesh, PartitionSpec(*of_a.spec[:-1], of_b.spec[-1]))


def columns(x: Any, start: int, stop: int) -> Any:
    """x[…, :, start:stop]."""
    return lax.slice_in_dim(x, start, stop, axis=x.ndim - 1)


def rows(x: Any, start: int, stop: int) -> Any:
    """x[…, start:stop, :]."""
    return lax.slice_in_dim(x, start, stop, axis=x.ndim - 2)


def down(x: Any, shape: Any) -> Any:
    """A matrix in whose row i stands x[…, i]."""
    return lax.broadcast_in_dim(x, shape, range(x.ndim))


def across(x: Any, shape: Any) -> Any:
    """A matrix in whose column j stands x[…, j]."""
    return lax.broadcast_in_dim(x, shape, (*range(x.ndim - 1), len(shape) - 1))


def _places(x: Any) -> tuple[Any, Any]:
    """i and j at each place (i, j)."""
    i, j = (lax.broadcasted_iota("int32", x.shape, x.ndim - k) for k in (2, 1))
    return i, j


def below(x: Any) -> Any:
    """A mask of the places under the diagonal."""
    i, j = _places(x)
    return i > j


def diagonal(x: Any) -> Any:
    """A mask of the diagonal."""
    i, j = _places(x)
    return i == j


def diagonal_of(x: Any) -> Any:
    """The elements x[…, i, i]."""
    return lax.reduce_sum(where(diagonal(x), x), (x.ndim - 2,))


def where(mask: Any, x: Any) -> Any:
    """x where the mask is set, else 0."""
    return lax.select(mask, x, lax.full_like(x, 0))


def tril(x: Any, strict: bool = False) -> Any:
    """The lower triangle, strictly: without its diagonal."""
    i, j = _places(x)
    return where(i > j if strict else i >= j, x)


def triu(x: Any, strict: bool = False) -> Any:
    """The upper triangle, strictly: without its diagonal."""
    i, j = _places(x)
    return where(i < j if strict else i <= j, x)


def copyltu(x: Any) -> Any:
    """The Hermitian matrix with the lower triangle of x and the real part of its diagonal."""
    low = tril(x, strict=True)
    middle = where(diagonal(x), x)
    return low + adjoint(low) + (middle + conj(middle)) / 2


def halved_tril(x: Any) -> Any:
    """Φ(x), Murray's half: the lower triangle with half of the diagonal."""
    return lax.select(below(x), x, where(diagonal(x), x / 2))


def skew(x: Any) -> Any:
    """(x − xᴴ) / 2."""
    return (x - adjoint(x)) / 2


def total(*terms: Any) -> Any:
    """The sum of the terms that are not None."""
    return functools.reduce(lax.add, [term for term in terms if term is not None])


def take_rows(x: Any, index: Any) -> Any:
    """x[…, index, :], with an index for each matrix of the stack."""
    at = index.ndim - 1
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(at + 1,),
        collapsed_slice_dims=(at,),
        start_index_map=(at,),
        operand_batching_dims=tuple(range(at)),
        start_indices_batching_dims=tuple(range(at)),
    )
    slices = (1,) * (at + 1) + x.shape[-1:]
    index = lax.expand_dims(index, (at + 1,))
    return lax.gather(x, index, dimensions, slices, unique_indices=True, mode="promise_in_bounds")


def inverse(permutation: Any) -> Any:
    """The permutation that undoes another: `p[inverse(p)]` is 0, 1, 2, … in order."""
    axis = permutation.ndim - 1
    place = lax.broadcasted_iota(permutation.dtype, permutation.shape, axis)
    return lax.sort((permutation, place), dimension=axis, num_keys=1)[1]


class Solver:
    """Systems with a general matrix a, factored once: `solve(b)` is a⁻¹b, `transposed(b)` is a⁻ᵀb."""

    def __init__(self, a: Any):
        self.lu, self.swaps, self.permutation = lax.linalg.lu(a)

    @property
    def determinant(self) -> Any:
        """det a: the product of the pivots, and −1 for each swap of two rows."""
        swapped = self.swaps != lax.broadcasted_iota(self.swaps.dtype, self.swaps.shape, self.swaps.ndim - 1)
        signs = 1 - 2 * lax.convert_element_type(swapped, self.lu.dtype)
        return lax.reduce_prod(diagonal_of(self.lu) * signs, (signs.ndim - 1,))

    def solve(self, b: Any) -> Any:
        y = self._triangle(take_rows(b, self.permutation), lower=True, unit_diagonal=True)
        return self._triangle(y, lower=False)

    def transposed(self, b: Any) -> Any:
        y = self._triangle(b, lower=False, transpose_a=True)
        z = self._triangle(y, lower=True, unit_diagonal=True, transpose_a=True)
        return take_rows(z, inverse(self.permutation))

    def _triangle(self, b: Any, **which: bool) -> Any:
        return lax.linalg.triangular_solve(self.lu, b, left_side=True, **which)
