"""A net of the demo: that it learns, goes back, and shows the library's own numbers."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet
from funcnet import nn
from funcnet._errors import ParameterError
from funcnet.demo import questions
from funcnet.demo.picture import FIELD, View
from funcnet.demo.plane import CAPACITY, INPUTS, SETS, drawn, inputs
from funcnet.demo.session import started
from funcnet.demo.settings import ACTIVATIONS, OPTIMIZERS, Settings, settings

VIEW = View(3, 0, (0, 1))
SMALL = Settings(hidden=(3,))


def weights_of(net):
    return jax.device_get(jax.tree.leaves(net.state.params))


def same(one, other):
    return all(map(np.array_equal, weights_of(one), weights_of(other)))


@pytest.fixture(scope="module")
def trained():
    """A small net after 60 steps in three runs."""
    net = started(SMALL)
    for steps in (20, 30, 10):
        net = net.ran(steps)
    return net


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", SETS)
def test_a_set_fits_the_plane_and_has_its_classes(name, classes):
    points = drawn(name, noise=20, test=30, classes=classes, seed=1)
    x, y = points.x[: points.filled], points.y[: points.filled]
    assert 0 < points.filled <= CAPACITY
    assert abs(x).max() <= 6
    assert abs(x).max() > 3
    assert y.max() < Settings(data=name, classes=classes).outputs
    assert points.train[: points.filled].mean() == pytest.approx(0.7, abs=0.05)
    assert not points.train[points.filled :].any()


def test_noise_and_split_and_set_come_from_keys_of_their_own():
    plain, noisy = (drawn("moons", noise=n, test=30, classes=2, seed=4) for n in (0, 10))
    other = drawn("moons", noise=0, test=60, classes=2, seed=4)
    assert np.array_equal(plain.train, noisy.train)
    assert np.std((noisy.x - plain.x)[: plain.filled]) == pytest.approx(0.2, rel=0.2)
    assert np.array_equal(plain.x, other.x)


def test_inputs_are_what_they_are_called():
    x, y = 1.5, -2.0
    expected = [x, y, x * x / 5, y * y / 5, x * y / 5, np.sin(x), np.sin(y), np.hypot(x, y), np.arctan2(y, x)]
    assert np.allclose(inputs((*INPUTS,), jnp.array([x, y])), expected)


def test_clouds_have_up_to_five_classes():
    points = drawn("gauss", noise=0, test=0, classes=5, seed=0)
    assert np.bincount(points.y[: points.filled]).tolist() == [60] * 5


def test_it_learns_the_circle():
    net = started(Settings(test=0)).ran(1500)
    _, accuracy, *_ = net.picture(VIEW)["metrics"]
    assert accuracy > 0.97


def test_the_steps_of_several_runs_are_those_of_one(trained):
    assert same(trained, started(SMALL).ran(60))
    assert trained.step == 60


def test_a_step_back_is_the_state_before_it(trained):
    before = started(SMALL)
    for steps in (20, 30, 9):
        before = before.ran(steps)
    assert trained.back().step == 59
    assert same(trained.back(), before)


def test_one_goes_back_step_by_step_to_the_start(trained):
    net = trained
    for step in reversed(range(60)):
        net = net.back()
        assert net.step == step
    assert same(net, started(SMALL))
    with pytest.raises(ParameterError, match="no earlier step to go back to"):
        net.back()


def test_back_and_forward_again_is_where_one_was(trained):
    assert same(trained.back().back().ran(2), trained)


def test_a_step_is_that_of_the_optimizer_on_the_batch():
    """SGD by hand: the batch is drawn by the key and the number of the step."""
    net = started(replace(SMALL, optimizer="sgd", rate=0.1, batch=5, test=0))
    key = jax.random.fold_in(net.state.key, 0)
    drawn = jax.random.randint(key, (5,), 0, net.points.filled)
    x, y = (jnp.asarray(one)[drawn] for one in (net.points.x, net.points.y))

    def loss(params):
        scores = nn.mlp(params, x, activation=nn.tanh)
        return nn.softmax_loss(scores, y).mean() + 0.001 * sum(map(nn.l2, nn.weights(params)))

    after = jax.tree.map(lambda p, g: p - 0.1 * g, net.state.params, jax.grad(loss)(net.state.params))
    for mine, expected in zip(weights_of(net.ran(1)), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=2e-5, atol=1e-6)


def gradients(net, example):
    """Loss, gradients and hidden values of one example, by the library's nets alone."""
    activation = nn.ACTIVATIONS[net.settings.activation]
    x = inputs(net.settings.inputs, net.points.x[example])

    def loss(params, x):
        return nn.LOSSES[net.settings.loss](nn.mlp(params, x, activation=activation), net.points.y[example])

    value, (grads, x_bar) = funcnet.value_and_grad(loss, argnums=(0, 1))(net.state.params, x)
    return value, grads, x_bar, nn.mlp_outputs(net.state.params, x, activation=activation)


ROWS = [
    *({"activation": name, "hidden": (4, 3)} for name in ACTIVATIONS),
    {"hidden": ()},
    {"hidden": (5,), "loss": "svm", "data": "gauss", "classes": 5},
    {"inputs": tuple(INPUTS), "hidden": (2,) * 6, "penalty": "l1", "data": "spiral3"},
]


@pytest.mark.in_turns(3)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_picture_has_the_gradients_of_funcnet(row):
    net = started(Settings(**row)).ran(7)
    seen = net.picture(VIEW)
    value, grads, x_bar, outputs = gradients(net, VIEW.example)
    flat = [layer[name].ravel() for layer in grads.values() for name in ("w", "b")]
    np.testing.assert_allclose(seen["loss"][0], value, rtol=1e-5)
    # Another compilation adds in another order; the smallest gradients are differences of larger numbers.
    near = {"rtol": 1e-4, "atol": 1e-6 * max(1, float(max(abs(x).max() for x in flat)))}
    np.testing.assert_allclose(seen["example_gradients"], np.concatenate(flat), **near)
    np.testing.assert_allclose(seen["x_bar"], x_bar, **near)
    last = [
        value
        for name, value in outputs.items()
        if not name.endswith("/affine")
        or f"{name.partition('/')[0]}/{net.settings.activation}" not in outputs
    ]
    np.testing.assert_allclose(seen["after"], np.concatenate(last), rtol=1e-4, atol=1e-5)


@pytest.mark.in_turns(3)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_local_times_upstream_is_downstream(row):
    seen = started(Settings(**row)).ran(7).picture(VIEW)
    np.testing.assert_allclose(seen["slopes"] * seen["after_bar"], seen["before_bar"], rtol=1e-5, atol=1e-8)


@pytest.mark.in_turns(2)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(optimizer):
    net = started(replace(SMALL, optimizer=optimizer, rate=0.03))
    before, after = (one.picture(VIEW)["metrics"][0] for one in (net, net.ran(300)))
    assert after < 0.7 * before


def test_the_field_is_the_decision_of_the_net(trained):
    seen = trained.picture(VIEW)
    ticks = np.linspace(-6, 6, FIELD, dtype=np.float32)
    for row, column in [(0, 0), (10, 70), (40, 40), (80, 3)]:
        scores = nn.mlp(trained.state.params, jnp.array([ticks[column], -ticks[row]]), activation=nn.tanh)
        assert seen["field"][row, column] == scores.argmax()
        assert seen["sure"][row, column] == pytest.approx(255 * jax.nn.softmax(scores).max(), abs=1)
    assert seen["units"].shape == (3, 27, 27)
    assert abs(seen["units"]).max() == 127


def test_the_grid_is_warped_by_two_units_of_the_layer():
    net = started(Settings(hidden=(4, 3)))
    for layer, units in [(0, (3, 1)), (1, (2, 0))]:
        seen = net.picture(View(0, layer, units))
        corner = nn.mlp_outputs(net.state.params, jnp.array([-6.0, 6.0]), activation=nn.tanh)
        expected = corner[f"layer{layer + 1}/tanh"][jnp.array(units)]
        np.testing.assert_allclose(seen["warped"][0, 0], expected, rtol=1e-5)
        assert seen["warped"].shape == (41, 41, 2)


def biased(net, **biases):
    """The net with other biases in its first layer."""
    layer = net.state.params["layer1"]
    params = {**net.state.params, "layer1": {**layer, **biases}}
    return replace(net, state=net.state._replace(params=params))


def test_dead_saturated_and_exploding_units_are_marked():
    shift = np.array([-1000.0, 0, 0], np.float32)
    relu, tanh = (started(replace(SMALL, activation=name)) for name in ("relu", "tanh"))
    assert biased(relu, b=shift).picture(VIEW)["marks"].tolist() == [1, 0, 0]
    assert biased(tanh, b=shift / 100).picture(VIEW)["marks"].tolist() == [2, 0, 0]
    assert biased(relu, b=-3 * shift).picture(VIEW)["marks"].tolist() == [3, 0, 0]
    assert biased(relu, b=np.float32([np.nan, 0, 0])).picture(VIEW)["marks"][0] == 3


def test_a_net_that_explodes_is_still_shown():
    net = started(replace(SMALL, activation="relu", rate=100.0)).ran(200)
    seen = net.picture(VIEW)
    assert not np.isfinite(seen["metrics"][0])
    assert set(seen["marks"]) <= {1, 3}
    for question in (questions.check, questions.landscape):
        with pytest.raises(ParameterError, match=r"infinite or not numbers any more.*smaller rate"):
            question(net)


def test_without_points_nothing_moves(trained):
    empty = trained.with_points(())
    assert same(empty.ran(5), trained)
    assert np.isnan(empty.picture(VIEW)["metrics"][:4]).all()
    only_test = trained.with_points(((0.0, 0.0, 1, 0),))
    assert same(only_test.ran(5), trained)


def test_points_that_are_changed_are_learned(trained):
    rows = tuple((float(x), 0.0, int(x > 0), 1) for x in range(-3, 4))
    net = trained.with_points(rows).ran(400)
    assert net.picture(VIEW)["metrics"][1] == 1
    with pytest.raises(ParameterError, match="class 2; expected 0 to 1"):
        net.with_points(((0.0, 0.0, 2, 1),))


def test_a_change_keeps_the_weights_where_it_can(trained):
    for change in ({"rate": 0.5}, {"strength": 1.0}, {"optimizer": "adam"}, {"loss": "svm"}, {"batch": 1}):
        other = trained.with_settings(replace(SMALL, **change))
        assert same(other, trained)
        assert other.step == 60
    for change in ({"hidden": (4,)}, {"seed": 1}, {"data": "xor"}, {"inputs": ("x", "y", "r")}, {"test": 10}):
        assert trained.with_settings(replace(SMALL, **change)).step == 0


def test_a_restart_has_the_same_points_and_the_first_weights(trained):
    edited = trained.with_points(((1.0, 2.0, 1, 1),))
    assert same(edited.restarted(), started(SMALL))
    assert edited.restarted().points.filled == 1


def test_what_is_kept_of_earlier_steps_is_bounded():
    net = started(SMALL)
    for _ in range(100):
        net = net.ran(1)
    assert len(net.earlier) == 64


@pytest.mark.parametrize("activation", ["tanh", "maxout"])
def test_the_gradient_check_has_the_words_of_the_lecture(activation):
    found = questions.check(started(Settings(hidden=(3,), activation=activation)).ran(5))
    assert [row["name"] for row in found["rows"]] == ["layer1 w", "layer1 b", "layer2 w", "layer2 b"]
    for row in found["rows"]:
        assert row["band"] == "good"
        assert row["analytic"] == pytest.approx(row["numerical"], rel=1e-6)


def test_a_wrong_gradient_is_called_wrong():
    assert questions.row("w", np.array([1.0, 2.0]), np.array([1.0, 4.0]))["band"] == "wrong"
    assert questions.row("w", np.zeros(2), np.zeros(2))["band"] == "good"


def test_the_landscape_falls_along_the_gradient_as_it_says(trained):
    told, found = questions.landscape(trained)
    here = np.searchsorted(found["times"], 0)
    assert found["line"][here] == pytest.approx(told["loss"], rel=1e-5)
    rise = (found["line"][here + 1] - found["line"][here - 1]) / (
        found["times"][here + 1] - found["times"][here - 1]
    )
    assert rise == pytest.approx(-told["slope"], rel=0.05)
    assert found["plane"][15, 15] == pytest.approx(told["loss"], rel=1e-5)
    assert found["plane"].max() > told["loss"]


def test_settings_that_are_left_out_are_the_lectures():
    assert settings("s", {}) == Settings()
    assert settings("s", {"inputs": ["y", "x", "x"]}).inputs == ("x", "y")
    assert settings("s", {"data": "spiral3"}).outputs == 3
