"""The lecture's worked examples: what the diagram holds is what the slides print."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet
from funcnet import RULES, lecture, nn
from funcnet.drawing.diagram.assemble import diagram
from funcnet.drawing.diagram.record import Options
from funcnet.lecture import EXAMPLES
from funcnet.nn import flat

PRINTED_IN_PART = {"svm", "two_layer", "derivative", "gradient", "jacobian"}
"""Of these examples no or few gates have printed numbers."""

FLOAT64 = {"svm", "two_layer"}
"""What is printed for these, or what flat backprop gives, has more digits than float32."""


@pytest.fixture(params=EXAMPLES)
def example(request):
    with jax.enable_x64(request.param in FLOAT64):
        yield EXAMPLES[request.param]


@functools.cache
def drawn(example):
    with jax.enable_x64(example.name in FLOAT64):
        options = Options(RULES, local=any(printed.local for printed in example.gates))
        return diagram(example.function, example.arguments, {}, example.upstream, options)


def assert_prints(actual, printed, example):
    """Equal, or equal when rounded to the printed decimals."""
    assert np.shape(actual) == np.shape(printed)
    half = 0.5 * 10.0**-example.decimals if example.decimals else 0
    np.testing.assert_allclose(np.float64(actual), printed, rtol=0, atol=half)


def test_the_gates_are_those_of_the_slides(example):
    if example.name not in PRINTED_IN_PART:
        assert [gate.name for gate in drawn(example)] == [printed.gate for printed in example.gates]


def test_every_gate_has_the_printed_value_gradient_and_local_gradient(example):
    gates = drawn(example).gates
    for gate, printed in zip(gates[len(gates) - len(example.gates) :], example.gates, strict=True):
        copies = isinstance(printed.value, tuple) and gate.name == "copy"
        values = printed.value if copies else (printed.value,)
        gradients = printed.gradient if copies else (printed.gradient,)
        assert gate.name == printed.gate
        for wire, value, gradient in zip(gate.outputs, values, gradients, strict=True):
            assert_prints(wire.value, value, example)
            assert_prints(wire.gradient, gradient, example)
        if printed.local:
            for local, number in zip(gate.local, printed.local, strict=True):
                assert_prints(local, number, example)


def test_every_argument_has_the_printed_gradient(example):
    d = drawn(example)
    for name, gradient in example.gradients.items():
        assert_prints(d[name].gradient, gradient, example)
    if example.gradients:
        assert set(example.gradients) == {wire.name for wire in d.inputs}


def test_the_gradients_are_those_of_grad(example):
    floats = [i for i, x in enumerate(example.arguments) if all(map(is_float, jax.tree.leaves(x)))]
    upstream = jax.tree.leaves(1.0 if example.upstream is None else example.upstream)

    def scalar(*args):
        results = jax.tree.leaves(example.function(*args))
        return sum((y * y_bar).sum() for y, y_bar in zip(results, upstream, strict=True))

    args = jax.tree.map(jnp.asarray, example.arguments)
    in_diagram = [wire.gradient for wire in drawn(example).inputs if is_float(wire.value)]
    for grad in (funcnet.grad, jax.grad):
        gradients = jax.tree.leaves(grad(scalar, argnums=floats)(*args))
        for actual, expected in zip(in_diagram, gradients, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def is_float(x):
    return jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating)


def test_every_gradient_has_the_shape_of_its_variable(example):
    for wire in drawn(example).wires:
        assert wire.gradient is None or wire.gradient.shape == wire.value.shape, wire
        assert (wire.gradient is not None) == (wire.role != "constant" and is_float(wire.value)), wire


def test_a_sigmoid_neuron_has_the_same_gradients_from_two_graphs():
    gates, one = (drawn(EXAMPLES[name]) for name in ("sigmoid_gates", "sigmoid_neuron"))
    assert (len(gates.gates), len(one.gates)) == (8, 5)
    for a, b in zip(gates.inputs, one.inputs, strict=True):
        np.testing.assert_allclose(a.gradient, b.gradient, rtol=1e-6)


def test_the_neuron_is_the_one_of_nn():
    w, x, b = map(jnp.asarray, EXAMPLES["neuron"].arguments)
    np.testing.assert_allclose(lecture.neuron(w, x, b), nn.neuron(w, x, b), rtol=1e-6)


@pytest.mark.parametrize("name", ["svm", "two_layer"])
def test_flat_backprop_equals_the_graph(name, x64):
    d = drawn(EXAMPLES[name])
    weights, x, y = jax.tree.map(jnp.asarray, EXAMPLES[name].arguments)
    loss, weights_bar = getattr(flat, name)(weights, x, y, lecture.REG)
    (result,) = d.results
    np.testing.assert_allclose(result.value, loss, rtol=1e-12)
    gradients = [wire.gradient for wire in d.inputs if wire.name not in ("x", "y")]
    for actual, expected in zip(gradients, jax.tree.leaves(weights_bar), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-13)


XS = np.linspace(-8, 8, 33, dtype=np.float32)


def sigmoid_both_ways():
    """The gate's forward at XS, and its backward with XS as upstream gradient."""
    y, stash = nn.sigmoid.forward(jnp.asarray(XS))
    (x_bar,) = nn.sigmoid.backward(stash, jnp.asarray(XS))
    return y, x_bar


def test_the_sigmoid_gate_goes_both_ways_as_the_slide_writes_it():
    """Slide 97: forward 1 / (1 + e⁻ˣ), backward (1 − y) y ȳ; here in float64."""
    y, x_bar = sigmoid_both_ways()
    expected = 1 / (1 + np.exp(-np.float64(XS)))
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    np.testing.assert_allclose(x_bar, (1 - expected) * expected * XS, rtol=1e-6)


def test_the_sigmoid_gate_goes_both_ways_as_that_of_pytorch():
    torch = pytest.importorskip("torch")
    x = torch.tensor(XS, requires_grad=True)
    expected = torch.sigmoid(x)
    expected.backward(torch.tensor(XS))
    y, x_bar = sigmoid_both_ways()
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(
        x_bar, x.grad.numpy(), rtol=1e-4, atol=1e-7
    )  # torch writes 1 − y, which cancels


DERIVATIVES = [
    ("derivative", 1 / (np.e + 2 + 1 / np.e)),
    ("gradient", (2, 4, 6)),
    ("jacobian", ((2, 1, 0), (0, 3, 2))),
]


@pytest.mark.parametrize(("name", "expected"), DERIVATIVES, ids=[row[0] for row in DERIVATIVES])
def test_a_derivative_has_an_element_for_each_pair_of_elements(name, expected):
    """Slides 99 to 106: of a scalar a scalar, of a vector a gradient, between vectors a Jacobian."""
    (x,) = map(jnp.asarray, EXAMPLES[name].arguments)
    jacobian = funcnet.jacobian(EXAMPLES[name].function)(x)
    assert jacobian.shape == np.shape(expected)
    np.testing.assert_allclose(jacobian, expected, rtol=1e-6)
    (wire,) = drawn(EXAMPLES[name]).inputs
    np.testing.assert_allclose(wire.gradient, np.atleast_2d(expected).sum(axis=0).reshape(x.shape), rtol=1e-6)


def test_a_large_product_needs_megabytes_where_its_jacobian_needs_256_gib():
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, np.float32) for shape in lecture.LARGE.values())
    y_bar = rng.standard_normal((x.shape[0], w.shape[1]), np.float32)

    def backward(x, w, y_bar):
        return funcnet.vjp(lecture.matmul, x, w)[1](y_bar)

    program = jax.jit(backward).lower(x, w, y_bar).compile()
    x_bar, w_bar = program(x, w, y_bar)
    assert (x_bar.shape, w_bar.shape) == (x.shape, w.shape)
    np.testing.assert_allclose(x_bar[:, 7], np.float64(y_bar) @ w[7], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(w_bar[7], np.float64(x[:, 7]) @ y_bar, rtol=1e-3, atol=1e-3)

    used = program.memory_analysis()
    arrays = used.argument_size_in_bytes + used.output_size_in_bytes + used.temp_size_in_bytes
    assert y_bar.nbytes * x.size == 256 * 2**30
    assert arrays < 256 * 2**20
