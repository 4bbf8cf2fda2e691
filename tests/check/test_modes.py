"""Rules of forward mode, checked as they are."""

import jax
import jax.numpy as jnp
import pytest

from funcnet import VJPCheckError, check_jvp
from tests.check.functions import X, sine

pytestmark = pytest.mark.in_turns(2)


def forward(slope):
    function = jax.custom_jvp(jnp.sin)
    function.defjvps(lambda x_dot, y, x: slope(x_dot, x))
    return function


def test_a_rule_of_forward_mode_is_checked_as_it_is():
    report = check_jvp(forward(lambda x_dot, x: x_dot * jnp.cos(x)), X)
    assert [(row.argument, row.dtype) for row in report.rows] == [("y", "float64"), ("y", "float32")]
    assert report.stash is None
    assert "right" in str(report)


FORWARD = [
    (
        "a factor",
        lambda x_dot, x: 1.003 * x_dot * jnp.cos(x),
        "WRONG",
        "a factor: the rule is 1.003 × the truth",
    ),
    ("an absolute value", lambda x_dot, x: abs(x_dot) * jnp.cos(x), "NONLINEAR", "ẏ(α ẋ₁ + β ẋ₂)"),
    (
        "a shift",
        lambda x_dot, x: x_dot * jnp.cos(x) + 1e-3,
        "NONLINEAR",
        "a tangent of 0 gives one that is not 0",
    ),
    ("rolled", lambda x_dot, x: jnp.roll(x_dot * jnp.cos(x), 1), "WRONG", "rolled by 1"),
]


@pytest.mark.parametrize(
    ("slope", "verdict", "words"), [row[1:] for row in FORWARD], ids=[row[0] for row in FORWARD]
)
def test_a_wrong_rule_of_forward_mode_is_refused(slope, verdict, words):
    with pytest.raises(VJPCheckError) as caught:
        check_jvp(forward(slope), X)
    assert caught.value.verdict == verdict
    assert words in str(caught.value)
    assert "funcnet.check_jvp(sin, " in str(caught.value)


def test_a_custom_vjp_has_no_forward_mode():
    """JAX says so no sooner than the program is compiled."""
    with pytest.raises(VJPCheckError, match="CONTRACT: sin") as caught:
        check_jvp(sine, X)
    assert "forward mode does not go through a custom_vjp" in str(caught.value)
