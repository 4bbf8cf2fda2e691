"""The primitives that have no rule, each with the reason.

`PIECEWISE_CONSTANT`: the derivative is zero wherever it exists, so no gradient flows through them.
`REFUSED`: a gradient would be asked for in vain or answered wrongly; meeting one is an error.
"""

_COMPARES = "true or false, constant between the points where its inputs are equal"
_COUNTS = "works on integers, which have no derivative"
_RANDOM = "random bits or keys, which are integers"
_INDEX = "an index, constant between ties"
_REFLECTIONS = "a part of the QR factorization, packed as LAPACK has it; differentiate jax.lax.linalg.qr"

_SILENT = "has an effect and no result"

PIECEWISE_CONSTANT = {
    **dict.fromkeys(["debug_callback", "debug_print", "inspect_sharding", "check", "dce_sink"], _SILENT),
    "floor": "constant between integers",
    "ceil": "constant between integers",
    "round": "constant between halves",
    "stop_gradient": "asked to be a constant",
    "is_finite": "true or false, constant on the floats",
    **dict.fromkeys(["eq", "ne", "ge", "gt", "le", "lt", "eq_to", "le_to", "lt_to"], _COMPARES),
    **dict.fromkeys(["and", "or", "xor", "not", "reduce_and", "reduce_or", "reduce_xor"], _COUNTS),
    **dict.fromkeys(["shift_left", "shift_right_arithmetic", "shift_right_logical"], _COUNTS),
    **dict.fromkeys(["population_count", "clz", "mulhi"], _COUNTS),
    **dict.fromkeys(["argmax", "argmin"], _INDEX),
    **dict.fromkeys(
        ["iota", "empty", "empty2", "axis_index", "create_token", "after_all"], "has no float input"
    ),
    **dict.fromkeys(["dimension_size", "lu_pivots_to_permutation"], _COUNTS),
    **dict.fromkeys(
        ["random_seed", "random_bits", "random_split", "random_fold_in", "random_clone"], _RANDOM
    ),
    **dict.fromkeys(["random_wrap", "random_unwrap", "rng_bit_generator", "iota_2x32_shape"], _RANDOM),
    **dict.fromkeys(["threefry2x32", "threefry4x32", "philox2x32", "philox4x32"], _RANDOM),
}

_OUTSIDE = "it runs code that JAX does not see; wrap it in jax.custom_vjp with a backward of your own"
_EXTREME = "JAX has none either; take the largest or smallest of what jax.lax.all_gather gives"
_UNREDUCED = "a sum over devices that is not taken yet has gradients of another type than its own"

_KERNEL = "it is what a GPU makes of a product of jax.experimental.sparse; use that product"
_PALLAS = "it is a kernel, or stands in one; wrap it in jax.custom_vjp with a kernel for the way back"
_REFERENCE = "it reads or writes a mutable array; gradients follow values only"

REFUSED = {
    **dict.fromkeys(["get", "swap", "addupdate", "accum_grad_in_ref", "run_state"], _REFERENCE),
    **dict.fromkeys(["new_ref", "empty_ref", "free_ref", "freeze"], _REFERENCE),
    **dict.fromkeys(["new_box", "box_get", "box_set", "new_log", "log_extend", "log_read"], _REFERENCE),
    "remat_opt": "jax.custom_vjp(optimize_remat=True) has first derivatives only",
    "igamma_grad_a": "the second derivative of the incomplete gamma function in its order is not offered",
    "zeta": "the Hurwitz zeta function has no rule; its derivative in q is −s · ζ(s + 1, q)",
    **dict.fromkeys(["coo_spmv", "coo_spmm", "csr_spmv", "csr_spmm"], _KERNEL),
    **dict.fromkeys(["pure_callback", "io_callback", "ffi_call", "buffer_callback"], _OUTSIDE),
    **dict.fromkeys(["pallas_call", "mpmd_map", "masked_load", "masked_swap", "get_global"], _PALLAS),
    "fused_call": "it is one kernel of a GPU; differentiate the function without jax.experimental.fused",
    "bitcast_convert_type": "the bits of a number are no differentiable function of it",
    **dict.fromkeys(["pmax", "pmin", "unreduced_pmax", "unreduced_pmin"], _EXTREME),
    **dict.fromkeys(["preduced", "reduced_vary_cast", "vary_unreduced_cast"], _UNREDUCED),
    **dict.fromkeys(
        ["vary_unreduced_cast_p", "reduced_vary_cast_p", "unreduced_psum", "unreduced_reduce_scatter"],
        _UNREDUCED,
    ),
    "all_gather_reduced": _UNREDUCED,
    "ragged_all_to_all": "rows that are sent twice would need their gradients added, where it overwrites",
    **dict.fromkeys(["psend", "precv"], "one side of a message; use jax.lax.ppermute, which is both"),
    "nextafter": "it differs from its first argument by one step of rounding, which has no derivative",
    "rng_uniform": "its bounds have a gradient only for a draw that stays the same; use jax.random.uniform",
    **dict.fromkeys(["geqrf", "geqp3", "householder_product", "ormqr"], _REFLECTIONS),
    "cholesky_update": "JAX has none; differentiate the Cholesky factorization of the updated matrix",
    "hessenberg": "its reflections are packed as LAPACK has them; JAX has no gradient either",
    "schur": "the order and the 2×2 blocks of its triangle can jump; differentiate jax.lax.linalg.eig",
    "tridiagonal": "its reflections are packed as LAPACK has them; differentiate jax.lax.linalg.eigh",
}
