"""The smallest set of values to keep: a minimum cut.

Each value is a pipe whose capacity is its bytes. It leads on to all that is made of it cheaply, and what the
rules read lies at the end. Into the values of expensive equations it flows in at the start. A set of values
is enough to make again what the rules read exactly if nothing can flow past it; the least of such sets is a
minimum cut (Zheng et al. 2022, torch.fx min-cut partitioning; Ford and Fulkerson 1956).
"""

from collections.abc import Collection, Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from funcnet import _jax
from funcnet.backprop.budget.cost import bytes_of

_CAPACITY = 2**30
"""Of a pipe that is never cut; capacities are int32."""


def smallest_kept(
    steps: Sequence[tuple[Sequence[_jax.Var], Sequence[_jax.Var], bool]],
    read: Collection[_jax.Var],
    held: Collection[_jax.Var],
) -> set[_jax.Var]:
    """The values, of fewest bytes, of which cheap equations make again all that is read.

    Args:
        steps: for each equation, in order, what it makes, of what, and whether it is cheap.
        read: variables of theirs that must be there.
        held: variables that are there in any case: they cost nothing.
    """
    made = [v for outs, _, _ in steps for v in outs]
    places = {v: 2 * i for i, v in enumerate(made)}  # where its pipe begins; it ends at the next number
    total = sum(bytes_of(v.aval) for v in made if v not in held)
    scale = max(1.0, total / (_CAPACITY // 4))
    start, end = 2 * len(made), 2 * len(made) + 1
    pipes: dict[tuple[int, int], int] = {}
    for outs, ins, cheap in steps:
        for v in outs:
            place = places[v]
            pipes[place, place + 1] = 0 if v in held else 1 + int(bytes_of(v.aval) / scale)
            sources = [places[u] + 1 for u in ins if u in places] if cheap else [start]
            pipes.update({(source, place): _CAPACITY for source in sources})
            if v in read:
                pipes[place + 1, end] = _CAPACITY
    if not pipes:
        return set()
    rows, columns = np.array(list(pipes)).T
    capacities = np.array(list(pipes.values()), np.int32)
    graph = csr_array((capacities, (rows, columns)), shape=(end + 1, end + 1))
    left = graph - maximum_flow(graph, start, end).flow
    left.eliminate_zeros()
    reached = set(breadth_first_order(left, start, return_predecessors=False).tolist())
    return {
        v for v, place in places.items() if place in reached and place + 1 not in reached and v not in held
    }
