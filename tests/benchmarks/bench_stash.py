"""What `funcnet.stash` counts beside XLA's own count of the compiled value and gradient.

    python -m tests.benchmarks.bench_stash

One row a program of tests/backprop/programs.py, with data grown along the axis of the examples, since XLA
hides what is kept in the buffers of the gradients where these are as large. All are counts, none a timing:

    kept     what the rules read of the forward pass, without arguments, constants and results
    dear     the same without what is elementwise of the rest, which XLA computes again
    peak     the most that is alive at once, elementwise operations fused: a model, before compiling
    XLA      temporary bytes of the compiled program

The rest are shares of these: peak; held, the arrays that XLA's program holds when it holds most, read from it
one by one; and of those what is of the forward pass, of the way back, and XLA's own copies and indices. Where
the peak falls short these are why: on a CPU products want some operands in another layout (the transformers),
reductions want factors stretched to full size (the mixture), a maximum pool the indices of what won (the
convolutional net), and XLA starts early what can start: the arrays to scatter into, slopes of the way back
(the order statistics).
"""

import jax
import jax.numpy as jnp

import funcnet
from funcnet.kept.held import BACK, FORWARD, OWN
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
    columns = ("kept", "dear", "peak", "XLA", "peak", "held", "forward", "back", "own")
    print(f"{'program':20}", *(f"{column:>11}" for column in columns[:4]), *(f"{c:>8}" for c in columns[4:]))
    near = [0, 0]
    for program in PROGRAMS:
        stash = funcnet.stash(program.function)(*grown(program))
        counts = stash.bytes, stash.bytes - stash.cheap, stash.peak, stash.temporary
        held = [sum(one.bytes for one in stash.held if one.of == of) for of in (FORWARD, BACK, OWN)]
        shares = [count / stash.temporary for count in (stash.peak, sum(held), *held)]
        near = [n + (abs(share - 1) <= 0.1) for n, share in zip(near, shares[:2], strict=True)]
        counted, shared = (f"{count:11,}" for count in counts), (f"{share:8.2f}" for share in shares)
        print(f"{program.name:20}", *counted, *shared, flush=True)
    print(f"\nwithin 10 % of XLA: peak {near[0]}, held {near[1]} of {len(PROGRAMS)}; jax {jax.__version__}")


if __name__ == "__main__":
    main()
