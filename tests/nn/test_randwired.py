"""Randomly wired nets: their graphs beside networkx's, their sizes, their gradient."""

import statistics

import jax
import jax.numpy as jnp
import networkx
import numpy as np
import pytest

import funcnet
from funcnet import nn
from funcnet._errors import ParameterError
from funcnet.nn.randwired import _stage

KEY = jax.random.key(231)
SEEDS = range(300)


def last_of_star_in_its_place(graph):
    """networkx starts with a star whose middle is number 0: that is the first to come here, after five."""
    return networkx.relabel_nodes(graph, {0: 5} | {i: i - 1 for i in range(1, 6)})


FAMILIES = {  # of the paper's best three, §5.1 and figure 3
    "ws": ((4, 0.75), lambda seed: networkx.watts_strogatz_graph(32, 4, 0.75, seed)),
    "er": ((0.2,), lambda seed: networkx.erdos_renyi_graph(32, 0.2, seed)),
    "ba": ((5,), lambda seed: last_of_star_in_its_place(networkx.barabasi_albert_graph(32, 5, seed))),
}
each_family = pytest.mark.parametrize("family", FAMILIES)


def as_networkx(graph):
    found = networkx.empty_graph(graph.nodes)
    found.add_edges_from(graph.edges)
    return found


STATISTICS = {
    "edges": lambda g: g.number_of_edges(),
    "largest degree": lambda g: max(d for _, d in g.degree),
    "variance of degrees": lambda g: statistics.pvariance(d for _, d in g.degree),
    "triangles": lambda g: sum(networkx.triangles(g).values()),
    "nodes that no smaller one leads to": lambda g: sum(all(v > u for v in g[u]) for u in g),
}


@each_family
def test_graphs_are_drawn_as_networkx_draws_them(family):
    """In the mean over 300 seeds, within five standard errors of the difference."""
    parameters, theirs = FAMILIES[family]
    ours = [as_networkx(nn.random_graph(family, 32, *parameters, seed=seed)) for seed in SEEDS]
    drawn = [theirs(seed) for seed in SEEDS]
    for name, measure in STATISTICS.items():
        samples = [list(map(measure, graphs)) for graphs in (ours, drawn)]
        means, variances = (list(map(f, samples)) for f in (statistics.fmean, statistics.pvariance))
        assert abs(means[0] - means[1]) <= 5 * (sum(variances) / len(SEEDS)) ** 0.5 + 1e-9, name


@each_family
def test_edges_lead_from_the_smaller_to_the_larger_number_once(family):
    for seed in range(20):
        graph = nn.random_graph(family, 12, *((4, 0.5) if family == "ws" else FAMILIES[family][0]), seed=seed)
        assert all(0 <= start < end < 12 for start, end in graph.edges)
        assert list(graph.edges) == sorted(set(graph.edges))
    assert graph == nn.random_graph(
        family, 12, *((4, 0.5) if family == "ws" else FAMILIES[family][0]), seed=19
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_ring_keeps_its_number_of_edges(seed):
    assert len(nn.random_graph("ws", 32, 4, 0.75, seed=seed).edges) == 64
    ring = nn.random_graph("ws", 8, 2, 0.0, seed=seed)
    assert set(ring.edges) == {*((i, i + 1) for i in range(7)), (0, 7)}


def multiply_adds(function, *args):
    """Of all convolutions and products."""
    total = 0

    def walk(jaxpr):
        nonlocal total
        for eqn in jaxpr.eqns:
            if eqn.primitive.name in ("conv_general_dilated", "dot_general"):
                y, w = eqn.outvars[0].aval, eqn.invars[1].aval
                total += y.size // y.shape[-1] * w.size
            for inner, _ in funcnet._jax.programs(eqn):
                walk(inner)

    walk(jax.make_jaxpr(function)(*args).jaxpr)
    return total


def test_the_small_regime_has_the_size_of_the_paper():
    """Tables 2 and 3: 5.6 M parameters and 583 M multiply-adds.

    The exact numbers depend on how many nodes of the second and third stage read the stage before, which has
    half of the channels: those of a prototype belong to 4 and 6.
    """
    graphs = [nn.random_graph("ws", 32, 4, 0.75, seed=seed) for seed in (1, 0, 6)]
    assert [32 - len({end for _, end in graph.edges}) for graph in graphs[1:]] == [4, 6]
    params, running = jax.eval_shape(lambda: nn.init_randwired(KEY, graphs, 1000))
    assert sum(p.size for p in jax.tree.leaves(params)) == 5_640_481
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    products = multiply_adds(lambda p, r, x: nn.randwired(p, r, x, graphs=graphs)[0], params, running, image)
    depthwise = sum(9 * y.shape[-1] * places for y, places in depthwise_kernels(params))
    assert round((products + depthwise) / 1e6, 2) == 583.83


def test_random_graphs_have_the_size_of_the_paper_in_the_mean():
    parameters = []
    for seed in range(8):
        graphs = [nn.random_graph("ws", 32, 4, 0.75, seed=3 * seed + n) for n in range(3)]
        params, _ = jax.eval_shape(lambda g=graphs: nn.init_randwired(KEY, g, 1000))
        parameters.append(sum(p.size for p in jax.tree.leaves(params)))
    assert statistics.fmean(parameters) == pytest.approx(5.6e6, rel=0.02)


def depthwise_kernels(params):
    """Each, and how many places it is read at: 28², 14² and 7² in the three stages."""
    for n, side in enumerate((28, 14, 7), start=1):
        for name, node in params[f"stage{n}"].items():
            if name != "edges":
                yield node["depthwise"], side**2


GRAPHS = (nn.random_graph("ws", 6, 2, 0.75, seed=1), nn.random_graph("er", 5, 0.4, seed=2))


@pytest.fixture(scope="module")
def net():
    return nn.init_randwired(KEY, GRAPHS, 4, inputs=2, channels=4, head=8)


@pytest.mark.parametrize("training", [False, True])
def test_its_gradient_is_that_of_jax(net, training):
    params, running = net
    x = jax.random.normal(KEY, (3, 16, 16, 2))

    def loss(params):
        scores, after = nn.randwired(params, running, x, graphs=GRAPHS, training=training)
        return nn.softmax_loss(scores, jnp.arange(3)).sum(), after

    ours, after = jax.jit(funcnet.grad(loss, has_aux=True))(params)
    theirs, expected = jax.jit(jax.grad(loss, has_aux=True))(params)
    for got, right in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        scale = float(jnp.max(jnp.abs(right)))
        np.testing.assert_allclose(got, right, rtol=1e-3, atol=1e-4 * scale + 1e-7)
    assert jax.tree.structure(after) == jax.tree.structure(running)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), after, expected)
    changed = [not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (after, running)), strict=True)]
    assert all(changed) if training else not any(changed)


def test_a_node_is_the_formula(net):
    """By hand, in float64, for one stage in inference: means 0 and variances 1."""
    params, running = net
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
    graph, stage = GRAPHS[0], params["stage1"]
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 4))

    def node(name, z, stride):
        z = np.pad(np.maximum(z, 0), [(0, 0), *[(0, 1) if stride == 2 else (1, 1)] * 2, (0, 0)])
        n = 4 // stride if stride == 2 else 2
        taps = stage[name]["depthwise"]
        y = np.zeros((1, n, n, z.shape[-1]))
        for i, j in np.ndindex(3, 3):
            y += z[:, i : i + stride * n : stride, j : j + stride * n : stride] * taps[i, j]
        return y @ stage[name]["w"] / np.sqrt(1 + 1e-5)

    values = []
    for number in range(graph.nodes):
        weights = 1 / (1 + np.exp(-stage["edges"]))
        came = [weights[edge] * values[graph.edges[edge][0]] for edge in graph.sources(number)]
        values.append(node(f"node{number}", sum(came) if came else x, 1 if came else 2))
    expected = sum(values[i] for i in graph.last) / len(graph.last)
    got, _ = _stage(jax.tree.map(jnp.float32, stage), running["stage1"], jnp.float32(x), graph, False)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tree", 8), "one of ws, er, ba"),
        (("ws", 8, 4), "takes k and p"),
        (("ws", 8, 3, 0.5), "an even number k"),
        (("er", 8, 1.5), "from 0 to 1"),
        (("ba", 8, 8), "a whole number m from 1 to 7"),
    ],
)
def test_what_no_graph_can_be(arguments, words):
    with pytest.raises(ParameterError, match=words):
        nn.random_graph(*arguments, seed=0)
    with pytest.raises(ParameterError, match="expected a graph"):
        nn.init_randwired(KEY, [], 10)
