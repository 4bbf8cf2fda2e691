"""A network's gradient: the lecture's words where it is right, the leaf that is wrong where it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import VJPCheckError, check_gradient, nn
from funcnet._errors import GradientError
from tests.check.rows import custom

pytestmark = pytest.mark.in_turns(2)

PARAMS = nn.init_mlp(jax.random.key(0), (4, 6, 3))
IMAGES = jax.random.normal(jax.random.key(1), (5, 4))
LABELS = jnp.array([0, 2, 1, 1, 0])


def loss(params, images, labels):
    scores = nn.mlp(params, images)
    return nn.softmax_loss(scores, labels).mean() + 1e-2 * sum(
        (layer["w"] ** 2).sum() for layer in params.values()
    )


def loss_with(gate):
    """Two layers with another activation between them."""

    def loss(params, images, labels):
        hidden = gate(images @ params["layer1"]["w"] + params["layer1"]["b"])
        return nn.softmax_loss(hidden @ params["layer2"]["w"] + params["layer2"]["b"], labels).mean()

    return loss


def test_a_right_network_has_a_row_for_each_leaf():
    report = check_gradient(loss, PARAMS, IMAGES, LABELS)
    paths = [
        (jax.tree_util.keystr(path), leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(PARAMS)
    ]
    assert [(leaf.name, leaf.shape) for leaf in report.leaves] == [
        (f"params{path}", shape) for path, shape in paths
    ]
    assert all(leaf.band == "good" and leaf.error <= 1e-7 for leaf in report.leaves)
    title, head, *lines = str(report).splitlines()
    assert title == "loss: the gradient of the loss is right"
    assert "relative error" in head
    assert [line.split()[0] for line in lines] == [
        f"params{path}[{','.join(map(str, shape))}]" for path, shape in paths
    ]


def test_the_numbers_are_those_of_the_loss():
    """Of L = w² the gradient along v = ±w is ±2w²."""
    (leaf,) = check_gradient(lambda params: (params["w"] ** 2).sum(), {"w": jnp.array([3.0])}).leaves
    assert abs(leaf.analytic) == pytest.approx(18.0, rel=1e-12)
    assert leaf.numerical == pytest.approx(leaf.analytic, rel=1e-9)
    assert leaf.error == pytest.approx(abs(leaf.analytic - leaf.numerical) / 18.0, abs=1e-15)


def test_another_key_moves_other_directions():
    one, other = (
        check_gradient(loss, PARAMS, IMAGES, LABELS, key=key).leaves for key in (1, jax.random.key(2))
    )
    assert [leaf.analytic for leaf in one] != [leaf.analytic for leaf in other]


def test_kinks_between_the_steps_are_no_mistake():
    weights = {"w": jnp.zeros((4, 3)), "b": jnp.array([0.5, 0.0, -0.5])}
    report = check_gradient(lambda params, x: nn.relu(x @ params["w"] + params["b"]).sum(), weights, IMAGES)
    assert {leaf.band for leaf in report.leaves} <= {"good", "fine with kinks", "kink"}
    assert "kink" in {leaf.band for leaf in report.leaves}


def wrong_relu(slope):
    return custom(
        lambda x: jnp.maximum(x, 0.0), lambda args, y_bar: (y_bar * jnp.where(args[0] > 0, slope, 0.0),)
    )


# what the gate's gradient is multiplied by, the lecture's word for the relative error
BANDS = [(1.5, "wrong"), (1.001, "suspicious"), (1 + 1e-5, "fine with kinks")]


@pytest.mark.parametrize(("factor", "band"), BANDS)
def test_a_wrong_gate_is_seen_in_the_leaf_behind_it(factor, band):
    with pytest.raises(VJPCheckError) as caught:
        check_gradient(loss_with(wrong_relu(factor)), PARAMS, IMAGES, LABELS)
    message = str(caught.value)
    assert caught.value.verdict == "WRONG"
    assert message.startswith(
        "WRONG: loss, params['layer1']['b']: float64[6]: the gradient of the loss is not its slope"
    )
    for word in (
        "⟨x̄, v⟩ ",
        ", differences ",
        f"relative: {band}",
        "directions",
        "one by one with funcnet.check_vjp",
    ):
        assert word in message, message


def test_a_bias_added_with_the_wrong_gradient_is_the_only_leaf_named():
    added = custom(lambda x, b: x + b, lambda args, y_bar: (y_bar, y_bar.mean(0)))

    def loss(params, images, labels):
        hidden = jnp.tanh(images @ params["layer1"]["w"] + params["layer1"]["b"])
        return nn.softmax_loss(added(hidden @ params["layer2"]["w"], params["layer2"]["b"]), labels).mean()

    with pytest.raises(VJPCheckError, match=r"params\['layer2'\]\['b'\]: float64\[3\]"):
        check_gradient(loss, PARAMS, IMAGES, LABELS)


def test_a_gradient_that_is_not_a_number():
    broken = custom(jnp.tanh, lambda args, y_bar: (y_bar * jnp.nan,))
    with pytest.raises(VJPCheckError, match=r"(?s)params.*error +nan relative: wrong"):
        check_gradient(loss_with(broken), PARAMS, IMAGES, LABELS)
    with pytest.raises(VJPCheckError, match="VACUOUS: <lambda>: the function is not finite"):
        check_gradient(lambda params, x: params.sum() * jnp.nan, jnp.ones(3), 1.0)


def test_the_batch_is_not_differentiated():
    unusable = custom(lambda x: x, lambda args, y_bar: (y_bar * jnp.nan,))
    report = check_gradient(lambda p, x: (p * unusable(x)).sum(), jnp.ones(3), jnp.arange(3.0))
    assert [leaf.name for leaf in report.leaves] == ["p"]


@pytest.mark.parametrize(
    ("result", "shapes"),
    [(lambda p: p, r"\[\(2, 3\)\]"), (lambda p: (p.sum(), p.sum()), r"\[\(\), \(\)\]")],
)
def test_a_loss_that_is_no_scalar_has_no_gradient(result, shapes):
    with pytest.raises(GradientError, match=f"shapes {shapes}, expected one scalar; return the loss alone"):
        check_gradient(result, np.ones((2, 3)))
