"""Rules that only route: what they send back is ȳ itself, moved, summed, halved at a tie or set to 0.

Where such a rule has set ȳ to 0, the operand took no part in the result. That is more than a number which
is 0: it says that nothing flows further back there, whatever the slopes are.
"""

SELECTING = frozenset(
    ("select_n", "max", "min", "clamp", "reduce_max", "reduce_min", "jax.nn.relu", "jax.nn.relu6")
)
"""Those that choose by value between their operands, or within one, and send 0 back to what was not taken."""

ROUTING = SELECTING | {
    *("add", "add_any", "sub", "neg", "real", "imag", "complex", "conj"),
    *("convert_element_type", "reduce_precision", "copy", "name", "optimization_barrier", "device_put"),
    *("sharding_constraint", "layout_constraint", "reshard", "tie"),
    *("reshape", "squeeze", "transpose", "rev", "broadcast_in_dim", "tile", "reduce_sum", "cumsum"),
    *("pad", "concatenate", "split", "stack", "unstack", "sort", "top_k"),
    *("slice", "dynamic_slice", "dynamic_update_slice", "gather"),
}
"""All of them."""

PARTS = frozenset({"concatenate", "stack", "pad", "dynamic_update_slice"})
"""Those of an operand that is smaller than the result because it is a part of it, and not repeated."""
