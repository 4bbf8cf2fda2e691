"""What is watched is what numpy computes of values and gradients; its names are the user's."""

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import funcnet
from funcnet import nn
from funcnet._errors import ShapeError
from funcnet.train.watch.heatmap import heatmap
from funcnet.train.watch.sizes import statistics
from funcnet.train.watch.step import KINDS, Place, Seen, columns, watched

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.in_turns(2)]

X, Y = jax.random.normal(jax.random.key(1), (8, 5)), jnp.arange(8) % 3


def mlp_loss(params, x, y):
    return jnp.mean(nn.softmax_loss(nn.mlp(params, x, activation=nn.tanh), y))


def norm(x):
    return np.linalg.norm(np.asarray(x, np.float64).ravel())


@pytest.mark.parametrize("grad", [funcnet.value_and_grad, jax.value_and_grad])
def test_norms_of_an_mlp(grad):
    """The oracle of an activation's gradient: jax.grad with respect to an array that is added to it."""
    params = nn.init_mlp(jax.random.key(0), (5, 4, 3))
    value, gradients, seen = jax.jit(watched(grad)(mlp_loss))(params, X, Y)

    expected, by_jax = jax.value_and_grad(mlp_loss)(params, X, Y)
    assert value == pytest.approx(expected)
    for name, one in seen.parameters.items():
        layer, leaf = name.split("/")
        np.testing.assert_allclose(gradients[layer][leaf], by_jax[layer][leaf], rtol=2e-6, atol=1e-8)
        assert one.norm == pytest.approx(norm(by_jax[layer][leaf]), rel=1e-5)

    def shifted(by):
        h = jnp.tanh(X @ params["layer1"]["w"] + params["layer1"]["b"]) + by
        return jnp.mean(nn.softmax_loss.primal(h @ params["layer2"]["w"] + params["layer2"]["b"], Y)), h

    h_bar, h = jax.grad(shifted, has_aux=True)(jnp.zeros((8, 4)))
    assert list(seen.activations) == ["layer1/affine", "layer1/tanh", "layer2/affine", "layer2/softmax_loss"]
    assert list(seen.gradients) == list(seen.activations)
    assert seen.activations["layer1/tanh"].norm == pytest.approx(norm(h), rel=1e-5)
    assert seen.gradients["layer1/tanh"].norm == pytest.approx(norm(h_bar), rel=1e-5)


def test_gradients_of_each_example_are_watched_by_parameter():
    """All of them together; the loss is that of one example."""

    def per_example(loss, has_aux):
        return jax.vmap(jax.value_and_grad(loss, has_aux=has_aux), in_axes=(None, 0))

    def loss(w, x):
        return jnp.sin(x @ w)

    w = jnp.arange(5.0)
    values, gradients, seen = jax.jit(watched(per_example)(loss))(w, X)
    expected = jnp.cos(X @ w)[:, None] * X
    np.testing.assert_allclose(values, jnp.sin(X @ w), rtol=1e-6)
    np.testing.assert_allclose(gradients, expected, rtol=1e-5)
    assert [place.kind for place in seen.places] == ["parameter"]
    assert seen.parameters["params"].norm == pytest.approx(norm(expected), rel=1e-5)
    assert seen.parameters["params"].maximum == pytest.approx(np.abs(expected).max(), rel=1e-5)


def test_statistics_are_numpys():
    x = jnp.array([[0.0, 5e-10, -3e-9, 0.5], [-2e4, 0.0, 7.0, 2e3]])
    found = statistics(x)
    decades = np.concatenate([[0], 10.0 ** np.arange(-9, 4), [np.inf]])
    expected, _ = np.histogram(np.abs(x[x != 0]), decades)
    np.testing.assert_array_equal(found.histogram, expected)
    assert found.maximum == 2e4
    assert found.zeros == 0.25
    assert found.norm == pytest.approx(norm(x))


def test_half_precision_is_measured_in_float32():
    found = statistics(jnp.full(100, 3e4, jnp.float16))
    assert found.norm == pytest.approx(3e5)


def test_more_than_norms_only_where_it_is_asked_for():
    params = nn.init_mlp(jax.random.key(0), (5, 3))
    measure = jax.jit(lambda step: watched(full=step % 2 == 0)(mlp_loss)(params, X, Y)[2])
    even, odd = measure(0), measure(1)
    assert even.parameters["layer1/w"].norm == odd.parameters["layer1/w"].norm
    assert np.isfinite(even.gradients["layer1/affine"].maximum)
    assert np.isnan(odd.gradients["layer1/affine"].maximum)
    assert not odd.gradients["layer1/affine"].histogram.any()


@pytest.mark.parametrize("grad", [funcnet.value_and_grad, jax.value_and_grad])
def test_a_scan_is_watched_step_by_step(grad):
    """h' = w h five times: at step t the gradient is w⁴⁻ᵗ, the value wᵗ⁺¹, checkpointed or not."""

    @jax.checkpoint
    def cell(h, w):
        return checkpoint_name(w * h, "state")

    def loss(params):
        with jax.named_scope("rnn"):
            return lax.scan(lambda h, _: (cell(h, params["w"]), None), 1.0, length=5)[0]

    value, gradients, seen = jax.jit(watched(grad)(loss))({"w": jnp.float32(0.5)})
    assert (value, gradients["w"]) == (0.5**5, 5 * 0.5**4)
    np.testing.assert_array_equal(seen.activations["rnn/state"].norm, 0.5 ** np.arange(1, 6))
    np.testing.assert_array_equal(seen.gradients["rnn/state"].norm, 0.5 ** np.arange(4, -1, -1))


def test_modules_of_flax():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(3)(jnp.tanh(linen.Dense(4, name="first")(x)))

    net = Net()
    params = net.init(jax.random.key(0), X)
    loss = jax.jit(lambda params, x: jnp.sum(net.apply(params, x) ** 2))  # a jitted loss is looked into
    _, _, seen = watched()(loss)(params, X)
    assert list(seen.activations) == ["Net/first", "Net/Dense_0"]
    assert seen.activations["Net/Dense_0"].norm == pytest.approx(norm(net.apply(params, X)), rel=1e-5)
    assert set(seen.parameters) == {
        f"params/{d}/{p}" for d in ("first", "Dense_0") for p in ("kernel", "bias")
    }


def test_modules_of_equinox():
    net = eqx.nn.MLP(5, 3, 4, 2, key=jax.random.key(0))
    params, static = eqx.partition(net, eqx.is_array)
    _, _, seen = watched()(lambda p, x: jnp.sum(jax.vmap(eqx.combine(p, static))(x)))(params, X)
    assert list(seen.activations) == [f"layers/{i}/eqx.nn.Linear" for i in range(3)]


def test_a_scope_is_named_with_its_layer_only_where_several_share_it():
    def loss(params, x):
        for w in params["blocks"]:
            with jax.named_scope("block"):
                x = x @ w["in"]
            x = jnp.tanh(x)
        with jax.named_scope("head"):
            x = x @ params["out"]["w"]
        with jax.named_scope("scaled"):
            x = 2 * x
        return jnp.sum(x)

    params = {"blocks": [{"in": jnp.ones((5, 5))}] * 2, "out": {"w": jnp.ones((5, 3))}}
    _, _, seen = watched()(loss)(params, X)
    assert list(seen.activations) == ["blocks/0/block", "blocks/1/block", "head", "scaled"]


def test_a_plain_function_is_named_by_its_parameters():
    loss = lambda p, x: jnp.sum(jnp.tanh(x @ p["in"]["w"]) @ p["out"].astype(jnp.float32).T)  # noqa: E731
    _, _, seen = watched()(loss)({"in": {"w": jnp.ones((5, 2))}, "out": jnp.ones((1, 2), jnp.float16)}, X)
    assert list(seen.activations) == ["in", "out"]


def test_layers_of_nnx_are_named_by_their_parameters():
    graph, params = nnx.split(nnx.Linear(5, 3, rngs=nnx.Rngs(0)), nnx.Param)
    loss = lambda params: jnp.sum(nnx.merge(graph, params["net"])(X) ** 2)  # noqa: E731
    *_, seen = watched()(loss)({"net": params})
    assert list(seen.activations) == ["net"]
    assert list(seen.parameters) == ["net/bias", "net/kernel"]


def test_metrics_of_the_loss_come_through():
    loss = lambda p, x: (jnp.sum(p * x), {"mean": jnp.mean(x)})  # noqa: E731
    (value, aux), gradient, seen = watched()(loss, has_aux=True)(jnp.ones(5), X)
    assert (value, aux["mean"]) == (jnp.sum(X), jnp.mean(X))
    assert seen.parameters["params"].norm == pytest.approx(norm(gradient))


def of_your_own(change):
    def grad(loss, has_aux):
        def gradients(params, batch, key):
            value, gradients = jax.value_and_grad(jax.checkpoint(loss), has_aux=has_aux)(params, batch, key)
            return value, jax.tree.map(change, gradients)

        return gradients

    return grad


@pytest.mark.parametrize(("change", "named"), [(lambda g: g, 4), (lambda g: jnp.clip(g, -0.1, 0.1), 0)])
def test_gradients_by_a_function_of_your_own(change, named):
    """Values are named where it changes nothing: what a probe has measured comes as a gradient too."""
    params, key = nn.init_mlp(jax.random.key(0), (5, 4, 3)), jax.random.key(1)
    loss = lambda params, batch, key: (mlp_loss(params, *batch), ({}, {}))  # noqa: E731
    _, gradients, seen = jax.jit(watched(of_your_own(change))(loss, has_aux=True))(params, (X, Y), key)
    assert len(seen.gradients) == len(seen.activations) == named
    expected = jax.tree.map(change, jax.grad(mlp_loss)(params, X, Y))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), gradients, expected)
    assert seen.parameters["layer1/w"].norm == pytest.approx(norm(expected["layer1"]["w"]), rel=1e-5)


@pytest.mark.parametrize("grad", [funcnet.value_and_grad, jax.value_and_grad])
def test_a_loss_that_prints_still_does(grad, capfd):
    def loss(params, x, y):
        with jax.named_scope("said"):
            jax.debug.print("a loss of {}", 7)
        return mlp_loss(params, x, y)

    *_, seen = jax.jit(watched(grad)(loss))(nn.init_mlp(jax.random.key(0), (5, 4, 3)), X, Y)
    jax.effects_barrier()
    assert capfd.readouterr().out.count("a loss of 7") == 1
    assert next(iter(seen.activations)) == "layer1/affine"


@pytest.mark.parametrize("loss", [lambda params: 3.0, lambda params: params["b"][0]], ids=["constant", "one"])
def test_a_loss_without_operations(loss):
    value, _, seen = watched(jax.value_and_grad)(loss)({"b": jnp.ones(2)})
    assert value == loss({"b": jnp.ones(2)})
    assert not seen.activations
    assert list(seen.parameters) == ["b"]


def _run(steps):
    """A deep net of sigmoids, in which gradients vanish, for so many steps."""

    def one(params, step):
        _, gradients, seen = watched(full=step % 2 == 0)(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), seen

    loss = lambda params: jnp.mean(nn.softmax_loss(nn.mlp(params, X, activation=nn.sigmoid), Y))  # noqa: E731
    params = nn.init_mlp(jax.random.key(0), (5, 4, 4, 4, 3))
    return jax.jit(lambda params: lax.scan(one, params, jnp.arange(steps))[1])(params)


def test_the_picture_and_the_table_of_a_run():
    seen = _run(4)
    figure = heatmap(seen, steps=range(10, 14))
    panels = figure.axes[:3]
    assert [tick.get_text() for tick in panels[1].get_yticklabels()] == list(seen.gradients)
    assert panels[0].get_images()[0].get_extent()[:2] == [9.5, 13.5]
    first, last = (seen.gradients[f"layer{n}/affine"].norm for n in (1, 4))
    assert (first < last / 10).all()  # it vanishes towards the first layer
    table = columns(seen)
    np.testing.assert_array_equal(table["gradient/layer1/affine/norm"], first)
    assert np.isnan(table["parameter/layer1/w/maximum"]).tolist() == [False, True, False, True]


def test_zeros_and_what_is_no_number_have_colors_of_their_own():
    norms = jnp.array([0.0, 1.0, jnp.inf, jnp.nan])
    seen = Seen(jnp.zeros((4, 3, 17)).at[..., 0].set(norms[:, None]), tuple(Place(k, "layer") for k in KINDS))
    image = heatmap(seen).axes[0].get_images()[0].get_array()[0]
    assert image[0].tolist() == [0, 0, 0, 1]
    np.testing.assert_array_equal(image[2], image[3])
    assert len({tuple(color) for color in image.tolist()}) == 3


def test_a_single_step_has_no_picture():
    seen = jax.tree.map(lambda x: x[0], _run(1))
    with pytest.raises(ShapeError, match="expected statistics stacked by step"):
        heatmap(seen)
    with pytest.raises(ShapeError, match="got 2 numbers for 1 steps"):
        heatmap(_run(1), steps=[0, 1])
