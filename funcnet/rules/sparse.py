"""Sparse arrays: the formats BCOO, BCSR, COO and CSR of `jax.experimental.sparse`.

A sparse array is a number d for each stored element, and the place p where it stands. Elements at the same
place add up; one whose place lies outside is padding and stands nowhere. Write x[p] for what stands in x at
the places, 0 outside, and 0[p] += d for zeros to which d is added at the places: each is the adjoint of the
other. A product reads its dense operand at places too: q is the part of a place that is summed over, p the
rest, which stays in y; batch axes belong to both.

    to dense        y = 0[p] += d              d̄ = ȳ[p]
    from dense      d = x[p]                   x̄ = 0[p] += d̄
    product         y = 0[p] += d · w[q]       d̄ = ȳ[p] · w[q],         w̄ = 0[q] += d · ȳ[p]
    sampled         d = a[p] · b[q]            ā = 0[p] += d̄ · b[q],    b̄ = 0[q] += d̄ · a[p]
    solve           A y = b                    b̄ = A⁻ᵀ ȳ,               d̄ = −b̄[p] · y[q]

In a system p is the row and q the column. No product is ever made dense: the gradient of d has an entry for
each stored element, as d has. Places have no gradient. The formats differ in how they write places down, and
`_places` reads them all.

What sorts places or looks for equal ones is walked back through JAX's own definition of it: `WRITTEN_OUT`.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.rules._places import (
    Places,
    as_stored,
    astype,
    elements,
    of_bcoo,
    of_bcsr,
    of_coo,
    put,
    read,
    take,
    times,
    write,
)
from funcnet.rules._table import rule

_LINEAR = "Griewank and Walther 2008, §3.2: the adjoint of y = Ax is x̄ = Aᵀȳ"
_SPARSE = "Nytko et al. 2022: optimized sparse matrix operations for reverse mode automatic differentiation"
_TO_DENSE, _FROM_DENSE = "d̄ = ȳ[p]", "x̄ = 0 with x̄[p] += d̄"
_PRODUCT = "d̄ = ȳ[p] · w[q],  w̄ = 0 with w̄[q] += d · ȳ[p]"


@rule("bcoo_todense", formula=_TO_DENSE, source=_LINEAR)
def bcoo_todense(y_bar, y, d, i, *, spinfo):
    return take(y_bar, of_bcoo(i, spinfo.shape), d), None


@rule("bcsr_todense", formula=_TO_DENSE, source=_LINEAR)
def bcsr_todense(y_bar, y, d, i, ptr, *, spinfo):
    return take(y_bar, of_bcsr(i, ptr, spinfo.shape), d), None, None


@rule("coo_todense", formula=_TO_DENSE, source=_LINEAR)
def coo_todense(y_bar, y, d, row, col, *, spinfo):
    return take(y_bar, of_coo(row, col), d), None, None


@rule("csr_todense", formula=_TO_DENSE, source=_LINEAR)
def csr_todense(y_bar, y, d, i, ptr, *, shape):
    return take(y_bar, of_bcsr(i, ptr, shape), d), None, None


@rule("bcoo_fromdense", formula=_FROM_DENSE, source=_LINEAR)
def bcoo_fromdense(y_bar, y, x, *, nse, n_batch, n_dense, index_dtype):
    """Padding stands outside, but without sparse axes nothing does: all but the first element is padding."""
    (d_bar, _), (_, i) = y_bar, y
    if not i.shape[-1]:
        d_bar = lax.slice_in_dim(d_bar, 0, min(nse, 1), axis=n_batch)
    return (put(d_bar, of_bcoo(i, x.shape), x),)


@rule("bcsr_fromdense", formula=_FROM_DENSE, source=_LINEAR)
def bcsr_fromdense(y_bar, y, x, *, nse, n_batch, n_dense, index_dtype):
    (d_bar, *_), (_, i, ptr) = y_bar, y
    return (put(d_bar, of_bcsr(i, ptr, x.shape), x),)


@rule("coo_fromdense", formula="x̄ = 0 with x̄[p] += d̄ · [d ≠ 0]", source=_LINEAR)
def coo_fromdense(y_bar, y, x, *, nse, index_dtype):
    """Padding is zeros at (0, 0), a place that is not theirs."""
    (d_bar, *_), (d, row, col) = y_bar, y
    zero = lax.full_like(d, 0)
    return (put(lax.select(lax.ne(d, zero), d_bar, zero), of_coo(row, col), x),)


@rule("csr_fromdense", formula=_FROM_DENSE, source=_LINEAR)
def csr_fromdense(y_bar, y, x, *, nse, index_dtype):
    (d_bar, *_), (_, i, ptr) = y_bar, y
    return (put(d_bar, of_bcsr(i, ptr, x.shape), x),)


@rule("bcoo_extract", formula="x̄ = 0 with x̄[p] += ȳ · [p was not read before]", source=_LINEAR)
def bcoo_extract(y_bar, y, i, x, *, assume_unique):
    """Unless places are assumed unique, only the first of equal ones is read, and the others give 0."""
    if not assume_unique:
        from jax.experimental.sparse import bcoo_extract_p

        y_bar = y_bar * bcoo_extract_p.bind(i, lax.full_like(x, 1), assume_unique=False)
    return None, put(y_bar, of_bcoo(i, x.shape), x)


@rule("bcsr_extract", formula="x̄ = 0 with x̄[p] += ȳ", source=_LINEAR)
def bcsr_extract(y_bar, y, i, ptr, x):
    return None, None, put(y_bar, of_bcsr(i, ptr, x.shape), x)


@rule("bcoo_transpose", formula="d̄ = ȳ with its axes put back", source=_LINEAR)
def bcoo_transpose(y_bar, y, d, i, *, permutation, spinfo):
    k, sparse = i.ndim - 2, i.shape[-1]
    dense = [axis - sparse + 1 for axis in permutation[k + sparse :]]
    return lax.transpose(y_bar[0], np.argsort([*permutation[:k], k, *dense])), None


@rule("bcoo_dot_general", formula=_PRODUCT, source=_SPARSE)
def bcoo_dot_general(y_bar, y, d, i, w, *, dimension_numbers, preferred_element_type, lhs_spinfo):
    d_bar, w_bar = _product(y_bar, d, w, of_bcoo(i, lhs_spinfo.shape), dimension_numbers)
    return d_bar, None, w_bar


@rule("bcsr_dot_general", formula=_PRODUCT, source=_SPARSE)
def bcsr_dot_general(y_bar, y, d, i, ptr, w, *, dimension_numbers, preferred_element_type, lhs_spinfo):
    d_bar, w_bar = _product(y_bar, d, w, of_bcsr(i, ptr, lhs_spinfo.shape), dimension_numbers)
    return d_bar, None, None, w_bar


@rule("coo_matvec", "coo_matmat", formula=_PRODUCT, source=_SPARSE)
def coo_matmat(y_bar, y, d, row, col, w, *, spinfo, transpose):
    d_bar, w_bar = _product(y_bar, d, w, of_coo(row, col), _matrix_product(transpose))
    return d_bar, None, None, w_bar


@rule("csr_matvec", "csr_matmat", formula=_PRODUCT, source=_SPARSE)
def csr_matmat(y_bar, y, d, i, ptr, w, *, shape, transpose):
    d_bar, w_bar = _product(y_bar, d, w, of_bcsr(i, ptr, shape), _matrix_product(transpose))
    return d_bar, None, None, w_bar


def _product(y_bar: Any, d: Any, w: Any, places: Places, dimension_numbers: Any) -> tuple[Any, Any]:
    """d̄ and w̄, where the numbers of a dot_general say which axes p and q are."""
    (contract, w_contract), (batch, w_batch) = dimension_numbers
    n = len(places.at) + d.ndim - places.rank
    w_names = _names(w.ndim, [*w_batch, *w_contract], [*batch, *contract], n)
    kept = [name for name in range(n) if name not in (*batch, *contract)]
    y_names = [*batch, *kept, *(name for name in w_names if name >= n)]
    w_q, stored = read(astype(w, y_bar), w_names, places), elements(astype(d, y_bar), places)
    # ȳ[p] stands here twice on purpose: were it one value, XLA would need half as much memory again.
    d_bar = times(read(y_bar, y_names, places), w_q, stored.names)
    w_bar = write(times(stored, read(y_bar, y_names, places), w_q.names), w_names, places, w)
    return as_stored(d_bar, d), w_bar


def _matrix_product(transpose: bool) -> Any:
    """The numbers of a dot_general for A w, or for Aᵀ w."""
    return (((0 if transpose else 1,), (0,)), ((), ()))


@rule(
    "bcoo_dot_general_sampled",
    formula="ā = 0 with ā[p] += ȳ · b[q],  b̄ = 0 with b̄[q] += ȳ · a[p]",
    source=_SPARSE,
)
def bcoo_dot_general_sampled(y_bar, y, a, b, i, *, dimension_numbers):
    """The product that is sampled has n axes, batch first, then those of a, then those of b."""
    (a_contract, b_contract), (a_batch, b_batch) = dimension_numbers
    batch, of_a = len(a_batch), a.ndim - len(a_contract)
    n = of_a + b.ndim - len(b_contract) - batch
    shared = [*range(batch), *range(n, n + len(a_contract))]
    a_names = _names(a.ndim, [*a_batch, *a_contract], shared, batch)
    b_names = _names(b.ndim, [*b_batch, *b_contract], shared, of_a)
    sizes = dict(zip([*a_names, *b_names], [*a.shape, *b.shape], strict=True))
    places = of_bcoo(i, [sizes[name] for name in range(n)])
    a_p, b_q = read(astype(a, y_bar), a_names, places), read(astype(b, y_bar), b_names, places)
    sample = elements(y_bar, places)
    a_bar = write(times(sample, b_q, a_p.names), a_names, places, a)
    b_bar = write(times(sample, a_p, b_q.names), b_names, places, b)
    return a_bar, b_bar, None


def _names(ndim: int, axes: Sequence[int], names: Sequence[int], following: int) -> list[int]:
    """The names of all axes: these axes have these, the others the numbers from `following` on."""
    given, others = dict(zip(axes, names, strict=True)), itertools.count(following)
    return [given[axis] if axis in given else next(others) for axis in range(ndim)]


@rule("spsolve", formula="b̄ = A⁻ᵀ ȳ,  d̄ = −b̄[p] · y[q]", source="Giles 2008, section 2")
def spsolve(y_bar, y, d, i, ptr, b, *, tol, reorder):
    from jax.experimental.sparse import linalg

    places = of_bcsr(i, ptr, (b.size, b.size))
    rows, outside = places.at[0], lax.full_like(i, b.size)
    columns, i_t, d_t = lax.sort((lax.select(rows < outside, i, outside), rows, d), num_keys=2)
    ptr_t = jnp.searchsorted(columns, lax.iota(i.dtype, b.size + 1)).astype(ptr.dtype)
    b_bar = linalg.spsolve(d_t, i_t, ptr_t, y_bar, tol, reorder)
    d_bar = -read(b_bar, [0], places).values * read(y, [1], places).values
    return d_bar, None, None, b_bar


def _definition(name: str) -> Callable[..., Any]:
    """The function of arrays by which JAX defines a primitive."""

    def definition(*xs: Any, **params: Any) -> Any:
        from jax.experimental import sparse

        return getattr(sparse, f"{name}_p").impl(*xs, **params)

    return definition


WRITTEN_OUT = {
    name: _definition(name)
    for name in ("todense", "bcoo_sort_indices", "bcoo_sum_duplicates", "bcoo_spdot_general")
}
"""For each primitive a function of its inputs and parameters that computes the same from others."""
