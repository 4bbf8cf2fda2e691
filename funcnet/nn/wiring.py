"""Random graphs whose edges go from smaller numbers to larger: how the stages of a net are wired.

Three families are drawn (Xie, Kirillov, Girshick and He 2019, §3.2):

    er    an edge between each pair with probability p                        Erdős and Rényi 1959
    ba    one node after another, each with m edges to nodes that have many   Barabási and Albert 1999
    ws    a ring of k neighbours, each edge of which is moved with probability p    Watts and Strogatz 1998
"""

import itertools
from typing import NamedTuple

import numpy as np

from funcnet._errors import ParameterError


class Wiring(NamedTuple):
    """The wiring of a stage.

    Attributes:
        nodes: how many.
        edges: pairs (from, to) with from < to, in ascending order.
    """

    nodes: int
    edges: tuple[tuple[int, int], ...]

    def sources(self, node: int) -> list[int]:
        """The numbers of the edges that lead to a node."""
        return [i for i, (_, to) in enumerate(self.edges) if to == node]

    @property
    def last(self) -> list[int]:
        """The nodes that lead nowhere."""
        return sorted(set(range(self.nodes)) - {start for start, _ in self.edges})


def random_graph(family: str, nodes: int, *parameters: int | float, seed: int) -> Wiring:
    """Draws the wiring of a stage.

    Args:
        family: "ws" with k and p, "er" with p, or "ba" with m.
        nodes: how many.
        parameters: of the family.
        seed: of the random numbers, which are NumPy's.

    Raises:
        ParameterError: an unknown family, or a parameter outside of its domain.

    >>> graph = random_graph("ws", 32, 4, 0.75, seed=0)
    >>> len(graph.edges)
    64
    """
    if family not in _FAMILIES:
        raise ParameterError(f"random_graph: family is {family!r}; expected one of {', '.join(_FAMILIES)}")
    draw, names = _FAMILIES[family]
    if len(parameters) != len(names):
        raise ParameterError(f"random_graph: {family} takes {' and '.join(names)}; got {parameters}")
    edges = draw(nodes, *parameters, np.random.default_rng(seed))
    return Wiring(nodes, tuple(sorted((min(edge), max(edge)) for edge in edges)))


def _erdos_renyi(nodes: int, p: int | float, random: np.random.Generator) -> list[tuple[int, int]]:
    _expect("er", 0 <= p <= 1, "a probability p from 0 to 1", p)
    return [edge for edge in itertools.combinations(range(nodes), 2) if random.random() < p]


def _barabasi_albert(nodes: int, m: int | float, random: np.random.Generator) -> list[tuple[int, int]]:
    """Each end of an edge is a lot in the draw for the next ones; the first node takes all m there are."""
    _expect("ba", 1 <= m < nodes and m == int(m), f"a whole number m from 1 to {nodes - 1}", m)
    edges, lots, chosen = [], [], list(range(int(m)))
    for node in range(int(m), nodes):
        edges += [(other, node) for other in chosen]
        lots += [*chosen, *[node] * int(m)]
        drawn: set[int] = set()
        while len(drawn) < m:
            drawn.add(int(random.choice(lots)))
        chosen = sorted(drawn)
    return edges


def _watts_strogatz(
    nodes: int, k: int | float, p: int | float, random: np.random.Generator
) -> list[tuple[int, int]]:
    _expect("ws", 0 < k < nodes - 1 and k % 2 == 0, f"an even number k below {nodes - 1}", k)
    _expect("ws", 0 <= p <= 1, "a probability p from 0 to 1", p)
    ring = [(node, (node + j) % nodes) for j in range(1, int(k) // 2 + 1) for node in range(nodes)]
    edges = {frozenset(edge): edge for edge in ring}
    for edge in ring:
        if random.random() < p:
            free = [v for v in range(nodes) if v != edge[0] and frozenset((edge[0], v)) not in edges]
            if free:
                moved = edge[0], int(random.choice(free))
                del edges[frozenset(edge)]
                edges[frozenset(moved)] = moved
    return list(edges.values())


def _expect(family: str, holds: bool, expected: str, got: int | float) -> None:
    if not holds:
        raise ParameterError(f"random_graph: {family} with {got}; expected {expected}")


_FAMILIES = {
    "ws": (_watts_strogatz, ("k", "p")),
    "er": (_erdos_renyi, ("p",)),
    "ba": (_barabasi_albert, ("m",)),
}
