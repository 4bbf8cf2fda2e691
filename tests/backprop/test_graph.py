"""The graph of a function, its values and its gradients; the graphs of the lecture with their numbers."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet import nn
from funcnet._errors import MissingRuleError, ShapeError
from funcnet.backprop import Constant, Value


def rounded(values, digits=2):
    return [None if value is None else np.round(np.float64(value), digits).tolist() for value in values]


def test_the_first_graph_of_the_lecture():
    """CS231n 2019, lecture 4, slides 42 to 55: f = (x + y)·z."""
    graph = funcnet.trace(lambda x, y, z: (x + y) * z)(-2.0, 5.0, -4.0)
    assert [node.primitive for node in graph.nodes] == ["add", "mul"]
    values = graph.forward(-2.0, 5.0, -4.0)
    assert list(map(float, values)) == [-2.0, 5.0, -4.0, 3.0, -12.0]
    assert list(map(float, graph.backward(values, 1.0))) == [-4.0, -4.0, 3.0, -4.0, 1.0]


def test_the_neuron_of_the_lecture():
    """Slides 61 to 79: 1 / (1 + exp(−(w₀x₀ + w₁x₁ + w₂))), gate by gate, with two digits as printed there."""

    def neuron(w0, x0, w1, x1, w2):
        return 1 / (1 + jnp.exp(-1 * (w0 * x0 + w1 * x1 + w2)))

    arguments = (2.0, -1.0, -3.0, -2.0, -3.0)
    graph = funcnet.trace(neuron)(*arguments)
    values = graph.forward(*arguments)
    assert rounded(values[5:]) == [-2.0, 6.0, 4.0, 1.0, -1.0, 0.37, 1.37, 0.73]
    gradients = graph.backward(values, 1.0)
    assert rounded(gradients[:5]) == [-0.20, 0.39, -0.39, -0.59, 0.20]
    assert rounded(gradients[5:]) == [0.20, 0.20, 0.20, 0.20, -0.20, -0.53, -0.53, 1.0]


def test_the_neuron_with_one_sigmoid_gate():
    """Slides 76 to 79: the gradient of the whole gate is (1 − 0.73)·0.73 = 0.20."""
    graph = funcnet.trace(nn.sigmoid)(jnp.float32(1.0))
    values = graph.forward(jnp.float32(1.0))
    assert len(graph.nodes) == 1
    assert rounded(graph.backward(values, 1.0)) == [0.20, 1.0]


@pytest.mark.parametrize(
    ("f", "xs", "y", "y_bar", "x_bars"),
    [
        (lambda x, y: x + y, (3.0, 4.0), 7.0, 2.0, [2.0, 2.0]),
        (lambda x, y: x * y, (2.0, 3.0), 6.0, 5.0, [15.0, 10.0]),
        (lambda x: (x, x), (7.0,), (7.0, 7.0), (4.0, 2.0), [6.0]),
        (jnp.maximum, (4.0, 5.0), 5.0, 9.0, [0.0, 9.0]),
        (
            lambda x: jnp.maximum(x, 0),
            (np.float32([1, -2, 3, -1]),),
            [1, 0, 3, 0],
            np.float32([4, -1, 5, 9]),
            [[4, 0, 5, 0]],
        ),
    ],
    ids=["add distributes", "mul swaps", "copy adds", "max routes", "relu on a vector"],
)
def test_patterns_of_the_lecture(f, xs, y, y_bar, x_bars):
    """Slides 80 to 83 and 107 to 113."""
    graph = funcnet.trace(f)(*xs)
    values = graph.forward(*xs)
    ys = [values[out.number] for out in graph.outputs]
    assert rounded(ys) == list(y) if isinstance(y, tuple) else rounded(ys) == [y]
    assert rounded(graph.backward(values, y_bar)[: len(xs)]) == x_bars


def test_the_vector_example_of_the_lecture():
    """Slides 126 to 141: f = ‖Wx‖²."""
    w, x = np.float32([[0.1, 0.5], [-0.3, 0.8]]), np.float32([0.2, 0.4])
    graph = funcnet.trace(lambda W, x: jnp.sum((W @ x) ** 2))(w, x)  # noqa: N803
    values = graph.forward(w, x)
    assert rounded(values[2:], 3)[0] == pytest.approx([0.22, 0.26])
    assert float(values[-1]) == pytest.approx(0.116)
    gradients = graph.backward(values, 1.0)
    np.testing.assert_allclose(gradients[0], [[0.088, 0.176], [0.104, 0.208]], rtol=1e-6)
    np.testing.assert_allclose(gradients[1], [-0.112, 0.636], rtol=1e-6)
    np.testing.assert_allclose(gradients[2], [0.44, 0.52], rtol=1e-6)


def net(params, x):
    h = jnp.tanh(x @ params["w"] + params["b"])
    total = jnp.sum(h * jnp.exp(-h))
    return {"loss": total**2, "hidden": h}


PARAMS = {"w": np.float32([[0.1, -0.4], [0.7, 0.2]]), "b": np.float32([0.3, -0.1])}
INPUT = np.float32([1.0, -2.0])


def test_names_numbers_and_types():
    graph = funcnet.trace(net)(PARAMS, x=INPUT)
    assert [value.name for value in graph.inputs] == ["params['b']", "params['w']", "x"]
    places = [*graph.inputs, *graph.constants, *(out for node in graph.nodes for out in node.outputs)]
    assert [place.number for place in places] == list(range(len(places)))
    values = graph.forward(PARAMS, x=INPUT)
    assert [(v.shape, v.dtype) for v in values] == [(place.shape, place.dtype) for place in places]
    known = {place.number for place in (*graph.inputs, *graph.constants)}
    for node in graph.nodes:
        assert {operand.number for operand in node.inputs if isinstance(operand, Value)} <= known
        known |= {out.number for out in node.outputs}
    assert str(graph.inputs[1]) == "params['w']: float32[2,2]"


@pytest.mark.parametrize(
    ("f", "args", "kwargs", "names"),
    [
        (lambda x, /, y: x + y, (1.0, 2.0), {}, ["x", "y"]),
        (lambda x, *, k: x + k, (1.0,), {"k": 2.0}, ["x", "k"]),
        (lambda *xs: xs[0] + xs[1], (1.0, 2.0), {}, ["xs[0]", "xs[1]"]),
        (lambda x, *rest: x + rest[0], (1.0, 2.0), {}, ["x", "rest[0]"]),
        (lambda **kw: kw["b"] * kw["a"], (), {"b": 2.0, "a": 1.0}, ["a", "b"]),
        (lambda pair: pair[0] * pair[1]["w"], ((1.0, {"w": 2.0}),), {}, ["pair[0]", "pair[1]['w']"]),
        (lambda x, *rest, k: x + rest[0] * k, (1.0, 2.0), {"k": 3.0}, ["x", "rest[0]", "k"]),
        (jnp.add, (1.0, 2.0), {}, ["args[0]", "args[1]"]),
        (jnp.tanh, (1.0,), {}, ["x"]),
    ],
)
def test_names_of_arguments(f, args, kwargs, names):
    assert [value.name for value in funcnet.trace(f)(*args, **kwargs).inputs] == names


def test_each_node_knows_its_line_and_its_scope():
    def f(x):
        with jax.named_scope("outer"):
            y = jnp.sin(x)  # sin here
            with jax.named_scope("inner"):
                y = y * x  # mul here
        return jnp.exp(y)  # exp here

    lines = Path(__file__).read_text().splitlines()
    graph = funcnet.trace(f)(1.0)
    assert [node.scope for node in graph.nodes] == ["outer", "outer/inner", ""]
    for node in graph.nodes:
        number = int(re.search(rf"{re.escape(__file__)}:(\d+)", node.line)[1])
        assert lines[number - 1].endswith(f"# {node.primitive} here")


def test_graphs_inside_a_graph():
    @jax.jit
    def half(x):
        return x / 2

    def f(x):
        y = lax.cond(x > 0, jnp.sin, jnp.cos, half(x))
        y = lax.scan(lambda c, _: (jnp.tanh(c), None), y, length=3)[0]
        return nn.sigmoid(jax.nn.relu(y))

    graph = funcnet.trace(f)(1.0)
    inside = {
        node.name: [[n.primitive for n in inner.nodes] for inner in node.graphs] for node in graph.nodes
    }
    assert inside["half"] == [["div"]]
    assert inside["cond"] == [["cos"], ["sin"]]
    assert inside["scan"] == [["tanh"]]
    assert all(part in str(graph) for part in ("half(", "cond(", "scan(", __file__))
    body = next(node.graphs[0] for node in graph.nodes if node.primitive == "scan")
    assert float(body.forward(0.5)[-1]) == pytest.approx(np.tanh(0.5))
    assert [float(g) for g in body.backward(body.forward(0.0), [1.0])] == [1.0, 1.0]


PROGRAMS = {
    "a net": (net, (PARAMS, INPUT), {"loss": 1.0, "hidden": np.float32([0.5, -2.0])}),
    "a closure": (lambda x: jnp.sum(jnp.sin(jnp.asarray(INPUT)) * x), (INPUT,), 1.0),
    "an argument twice": (lambda x: jnp.sum(x * x * jnp.exp(x)), (INPUT,), 1.0),
    "a result that is used again": (lambda x: (jnp.sin(x), jnp.sum(jnp.sin(x) ** 2)), (INPUT,), (INPUT, 2.0)),
    "integers beside": (lambda x, n: jnp.sum(x[n] * x[0]), (INPUT, np.array([1, 0, 1])), 1.0),
    "a call, a branch, a loop": (
        lambda x: lax.scan(
            lambda c, y: (jax.jit(jnp.tanh)(c * y), None), lax.cond(x[0] > 0, jnp.sin, jnp.cos, x[1]), x
        )[0],
        (INPUT,),
        1.0,
    ),
    "a custom_vjp": (lambda x: jnp.sum(nn.tanh(x) * x), (INPUT,), 1.0),
    "a remat": (lambda x: jnp.sum(jax.checkpoint(lambda x: jnp.sin(jnp.cos(x)))(x) * x), (INPUT,), 1.0),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_gradients_at_every_node(name):
    """Beside JAX: add a zero to the output of every node and ask `jax.grad` for its gradient."""
    f, xs, y_bar = PROGRAMS[name]
    graph = funcnet.trace(f)(*xs)
    values = graph.forward(*xs)
    gradients = graph.backward(values, y_bar)

    def disturbed(zeros):
        found = {}
        for value, x in zip((*graph.inputs, *graph.constants), values, strict=False):
            found[value.number] = jnp.asarray(x) + zeros[value.number] if value.number in zeros else x
        for eqn, node in zip(graph.jaxpr.eqns, graph.nodes, strict=True):
            operands = [found[x.number] if isinstance(x, Value) else x.value for x in node.inputs]
            params = eqn.primitive.get_bind_params(eqn.params)
            outs = eqn.primitive.bind(*operands, **params)
            outs = outs if eqn.primitive.multiple_results else [outs]
            for out, value in zip(node.outputs, outs, strict=True):
                found[out.number] = value + zeros[out.number] if out.number in zeros else value
        bars = jax.tree.leaves(y_bar)
        loss = sum(jnp.sum(found[out.number] * bar) for out, bar in zip(graph.outputs, bars, strict=True))
        return loss, found

    floats = {i: np.zeros_like(v) for i, v in enumerate(values) if jnp.issubdtype(v.dtype, jnp.floating)}
    expected, found = jax.grad(disturbed, has_aux=True)(floats)
    for i, (value, gradient) in enumerate(zip(values, gradients, strict=True)):
        np.testing.assert_array_equal(value, found[i])
        if gradient is None:
            assert i not in expected or not np.any(expected[i])
        else:
            assert (
                (gradient.shape, gradient.dtype) == (value.shape, value.dtype)
                if hasattr(gradient, "shape")
                else True
            )
            np.testing.assert_allclose(gradient, expected[i], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_each_use_sends_back(name):
    """Beside JAX: `jax.vjp` of every operation alone, pulled by the gradient of its output."""
    f, xs, y_bar = PROGRAMS[name]
    graph = funcnet.trace(f)(*xs)
    values = graph.forward(*xs)
    gradients, sent = graph.backward_by_use(values, y_bar)
    assert len(sent) == len(graph.nodes)
    for eqn, node, x_bars in zip(graph.jaxpr.eqns, graph.nodes, sent, strict=True):
        upstream = [gradients[out.number] for out in node.outputs]
        if all(y is None for y in upstream):
            assert x_bars == (None,) * len(node.inputs)
            continue
        operands = [jnp.asarray(values[x.number] if isinstance(x, Value) else x.value) for x in node.inputs]
        params = eqn.primitive.get_bind_params(eqn.params)
        y, pull = jax.vjp(lambda *xs: eqn.primitive.bind(*xs, **params), *operands)  # noqa: B023
        y_bars = [
            jnp.zeros_like(one) if bar is None else bar
            for one, bar in zip(jax.tree.leaves(y), upstream, strict=True)
        ]
        for x_bar, expected, x in zip(
            x_bars, pull(jax.tree.unflatten(jax.tree.structure(y), y_bars)), node.inputs, strict=True
        ):
            if x_bar is not None:
                np.testing.assert_allclose(x_bar, expected, rtol=1e-5, atol=1e-6)
            elif isinstance(x, Value) and gradients[x.number] is not None:
                assert expected.dtype == jax.dtypes.float0 or not np.any(expected)


def test_what_a_function_closes_over_has_a_gradient():
    weights = jnp.array([2.0, 3.0])
    graph = funcnet.trace(lambda x: jnp.sum(weights * x))(INPUT)
    assert len(graph.constants) == 1
    np.testing.assert_array_equal(graph.backward(graph.forward(INPUT), 1.0)[1], INPUT)


def test_what_is_made_of_integers_alone_has_no_gradient():
    graph = funcnet.trace(lambda x, n: x * n.astype(jnp.float32))(INPUT, np.array([3, 4]))
    by_x, by_n, by_float, by_product = graph.backward(graph.forward(INPUT, np.array([3, 4])), INPUT)
    assert (by_n, by_float) == (None, None)
    np.testing.assert_array_equal(by_x, INPUT * [3, 4])
    np.testing.assert_array_equal(by_product, INPUT)


def test_literals_arguments_and_repeats_among_the_results():
    graph = funcnet.trace(lambda x: (x, 3.0, x * 2, x))(1.0)
    assert isinstance(graph.outputs[1], Constant)
    values = graph.forward(5.0)
    assert list(map(float, graph.backward(values, (1.0, 1.0, 1.0, 1.0)))) == [4.0, 1.0]
    assert float(graph.backward(values, (None, None, 1.0, None))[0]) == 2.0


def test_a_graph_under_jit_vmap_and_grad():
    graph = funcnet.trace(lambda x: jnp.sin(x) * x)(1.0)
    slope = lambda x: graph.backward(graph.forward(x), 1.0)[0]  # noqa: E731
    expected = lambda x: jnp.cos(x) * x + jnp.sin(x)  # noqa: E731
    np.testing.assert_allclose(jax.jit(slope)(0.3), expected(0.3), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(slope)(INPUT), expected(INPUT), rtol=1e-6)
    np.testing.assert_allclose(funcnet.grad(slope)(0.3), jax.grad(expected)(0.3), rtol=1e-6)


def test_another_rule_for_one_backward_pass():
    graph = funcnet.trace(jnp.round)(0.7)
    values = graph.forward(0.7)
    assert graph.backward(values, 1.0)[0] is None
    straight = funcnet.RULES | {"round": lambda y_bar, y, x, *, rounding_method: (y_bar,)}
    assert graph.backward(values, 1.0, rules=straight)[0] == 1.0


def test_a_graph_is_immutable():
    graph = funcnet.trace(jnp.sin)(1.0)
    for thing in (graph, graph.nodes[0], graph.inputs[0]):
        with pytest.raises(AttributeError):
            thing.number = thing.primitive = 7
    assert isinstance(graph.nodes, tuple)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda graph: graph.forward(1.0),
            ShapeError,
            r"got float32\[\] in .*expected float32\[2\].*trace the function",
        ),
        (lambda graph: graph.forward(INPUT, INPUT), ShapeError, "expected"),
        (lambda graph: graph.forward(INPUT.astype(np.float16)), ShapeError, "got float16"),
        (lambda graph: graph.forward(x=INPUT), ShapeError, "expected"),
        (lambda graph: graph.backward(graph.forward(INPUT), 1.0), ShapeError, "structure"),
        (
            lambda graph: graph.backward(graph.forward(INPUT), (1.0, INPUT)),
            ShapeError,
            r"output 0: got float32\[\]",
        ),
        (lambda graph: graph.backward(graph.forward(INPUT)[:-1], (INPUT, INPUT)), ShapeError, "values"),
    ],
)
def test_refusals(call, error, words):
    graph = funcnet.trace(lambda x: (jnp.sin(x), jnp.cos(x)))(INPUT)
    with pytest.raises(error, match=words):
        call(graph)


def test_a_graph_without_a_rule_still_runs_forward():
    graph = funcnet.trace(lambda x: jnp.nextafter(x, 2.0))(jnp.float32(1.0))
    values = graph.forward(jnp.float32(1.0))
    assert values[-1] == np.nextafter(np.float32(1), np.float32(2))
    with pytest.raises(MissingRuleError, match="nextafter"):
        graph.backward(values, 1.0)


def test_a_cell_of_a_notebook_is_called_that():
    names = {"jnp": jnp}
    exec(compile("def f(x):\n    return jnp.sin(x)", "/tmp/ipykernel_123/4567.py", "exec"), names)
    (node,) = funcnet.trace(names["f"])(1.0).nodes
    assert node.line.startswith("notebook cell:2:")


def test_what_is_data_only_is_one_constant():
    """A graph is of its arguments; how a constant comes about is shown on demand."""

    def f(x):
        return jnp.sum(x * jnp.sin(jnp.linspace(0.0, 1.0, 3)))

    graph = funcnet.trace(f)(np.ones(3, np.float32))
    assert [node.primitive for node in graph.nodes] == ["mul", "reduce_sum"]
    assert len(graph.constants) == 1
    whole = funcnet.trace(f, data=True)(np.ones(3, np.float32))
    assert "sin" in {node.primitive for node in whole.nodes}
    for one in (graph, whole):
        values = one.forward(np.ones(3, np.float32))
        np.testing.assert_allclose(one.backward(values, 1.0)[0], np.sin(np.linspace(0, 1, 3)), rtol=1e-6)


def test_an_integer_argument_stays_an_argument():
    graph = funcnet.trace(lambda x, n: x * n)(2.0, 3)
    assert graph.forward(2.0, 5)[-1] == 10.0
