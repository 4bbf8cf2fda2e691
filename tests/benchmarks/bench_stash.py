"""What `funcnet.stash` counts beside XLA's own count of the compiled value and gradient.

    python -m tests.benchmarks.bench_stash

One row a program of tests/backprop/programs.py, with data grown along the axis of the examples, since XLA
hides what is kept in the buffers of the gradients where these are as large. All are counts, none a timing:

    kept     what the rules read of the forward pass, without arguments, constants and results
    dear     the same without what is elementwise of the rest, which XLA computes again
    peak     the most that is alive at once, elementwise operations fused
    XLA      temporary bytes of the compiled program

XLA takes more than the peak where its kernels want copies: on a CPU its products those of operands in another
layout (the transformers), its maximum pool the indices of what won (the convolutional net).
"""

import jax
import jax.numpy as jnp

import funcnet
from tests.backprop.programs import PROGRAMS

GROWN = {"LSTM": (1, 64), "Gaussian process": (0, 8), "order statistics": (0, 256)}
"""Which axis of the data grows and how much; the others' first 64 times."""


def grown(program):
    """The types of the arguments of a program, with more data."""
    axis, factor = GROWN.get(program.name, (0, 64))
    params, *data = program.sample()
    if program.name == "spectral filter":  # it has a parameter for each signal
        params = (*params[:2], jnp.tile(params[2], (factor, 1)))

    def larger(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return x
        shape = tuple(n * factor if i == axis else n for i, n in enumerate(x.shape))
        return jax.ShapeDtypeStruct(shape, x.dtype)

    return params, *jax.tree.map(larger, data)


def main():
    columns = ("kept", "dear", "peak", "XLA", "kept / XLA", "peak / XLA")
    print(f"{'program':20}", *(f"{column:>11}" for column in columns))
    near = 0
    for program in PROGRAMS:
        stash = funcnet.stash(program.function)(*grown(program))
        counts = stash.bytes, stash.bytes - stash.cheap, stash.peak, stash.temporary
        shares = stash.bytes / stash.temporary, stash.peak / stash.temporary
        near += abs(shares[1] - 1) <= 0.1
        counted = (f"{count:11,}" for count in counts)
        print(f"{program.name:20}", *counted, *(f"{share:11.2f}" for share in shares), flush=True)
    print(f"\npeak within 10 % of XLA: {near} of {len(PROGRAMS)}; jax {jax.__version__}")


if __name__ == "__main__":
    main()
