"""Functions that go wrong in a jitted step: each is named by direction, gate and source line."""

import inspect
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import pytest

import funcnet
from tests.nonfinite import planted, planted_by_others

pytestmark = pytest.mark.in_turns(2)


@dataclass(frozen=True)
class Row:
    """A loss, its arguments, and what is to be found out about it.

    Attributes:
        loss: the function; its first argument are the parameters.
        args: its arguments.
        direction: forward or backward.
        name: the gate's.
        says: a part of the message that is this row's own.
        marked: the function in which the marked line stands, if not the loss.
        only_jax: whether only jax.grad goes wrong.
    """

    loss: object
    args: tuple
    direction: str
    name: str
    says: str
    marked: object = None
    only_jax: bool = False


TWO, NAN, INF = jnp.array([1.0, 2.0]), jnp.nan, jnp.inf
F, B = "forward", "backward"

ROWS = [
    Row(planted.log_of_0, (jnp.array([1.0, 0.0]),), F, "log", "element [1], where the inputs are 0"),
    Row(planted.sqrt_at_0, (TWO,), B, "sqrt", "slope of a root"),
    Row(planted.softmax_in_float16, (jnp.array([1.0, 12.0]),), F, "exp", "float16 2 from 1 to 12"),
    Row(planted.exploding_scan, (jnp.float32(1),), F, "mul", "in step 6 of the 20 of scan"),
    Row(planted.exploding_gradient_of_a_scan, (TWO,), B, "mul", "of the 30 of scan"),
    Row(
        planted.division_in_an_untaken_branch,
        (jnp.array([0.0, 1.0]),),
        B,
        "div",
        "0 · ∞: a select",
        None,
        True,
    ),
    Row(planted.nan_in_the_data, (TWO, jnp.array([[1.0, NAN]]), jnp.ones(1)), F, "x", "1 NaN"),
    Row(planted.infinite_learning_rate, (TWO, INF), F, "rate", "is not finite itself"),
    Row(planted.zero_by_zero, (TWO,), F, "div", "float32 = 0; float32 = 0"),
    Row(planted.nan_written_in_the_code, (TWO,), F, "where", "a NaN that is written in the code"),
    Row(planted.label_that_is_no_class, (TWO,), F, "softmax_loss", "A label that is none of the classes"),
    Row(planted.inf_minus_inf, (TWO,), F, "sub", "a mask leaves nothing"),
    Row(planted.arccos_above_1, (jnp.array([1.0000001, 1.0]),), F, "acos", "jnp.clip"),
    Row(planted.negative_to_a_power, (TWO,), F, "pow", "whole powers"),
    Row(planted.std_of_a_constant, (TWO,), B, "sqrt", "float32 = 0"),
    Row(planted.norm_at_0, (jnp.zeros(3),), B, "sqrt", "in norm"),
    Row(planted.log1p_of_minus_1, (TWO,), F, "log1p", "input above −1"),
    Row(planted.exp_in_a_loss, (TWO,), F, "exp", "in poisson"),
    Row(planted.unit_vector_of_0, (jnp.zeros(2),), F, "div", "The divisor is 0"),
    Row(planted.logsumexp_of_a_masked_row, (jnp.ones((2, 2)),), F, "log", "element [1]"),
    Row(
        planted.cumprod_at_0,
        (jnp.array([2.0, 0.0, 3.0]),),
        B,
        "div",
        "the backward of cumprod",
        planted.cumprod_backward,
    ),
    Row(planted.nan_from_a_custom_vjp, (TWO,), B, "mul", "the backward of clipped", planted.clipped_backward),
    Row(
        planted.nan_parameter,
        ({"layer1": TWO, "layer2": jnp.array([NAN, 1])},),
        F,
        "p['layer2']",
        "checkpoint",
    ),
    Row(planted.cond_that_divides, (jnp.array([-1.0, 2.0]),), F, "div", "in cond"),
    Row(planted.while_that_overflows, (jnp.array([2.0]),), F, "mul", "step 6 of the 9 of while"),
    Row(planted.vmapped_while, (TWO,), F, "div", "step 1 of the 4 of while"),
    Row(planted.vmapped_root, (jnp.array([0.0, 2.0]),), B, "sqrt", "element [0]"),
    Row(planted.sum_of_gradients_in_float16, (jnp.array([0.0]),), B, "the sum of the gradients", "float16"),
    Row(planted.masked_root_under_a_zero, (jnp.array([0.0, 1.0]),), B, "sqrt", "STRONG_ZERO"),
    Row(
        planted.running_maximum_that_starts_at_minus_inf,
        (jnp.array([1.0, 2.0, 3.0]),),
        F,
        "div",
        "step 2 of the 3",
    ),
    Row(planted.second_derivative, (jnp.zeros(2),), B, "pow", "element [0]"),
    Row(planted.log_prob_outside_the_support, (TWO,), F, "where", "an ∞ that is written in the code"),
    Row(planted.softmax_written_out, (jnp.array([1.0, 200.0]),), F, "exp", "where the inputs are 200"),
    Row(planted.cholesky_of_an_indefinite_matrix, (TWO / 9,), F, "cholesky", "a positive definite matrix"),
    Row(
        planted_by_others.label_outside_in_optax,
        (jnp.ones((2, 3)), jnp.array([0, 7])),
        F,
        "gather",
        "Index 7, number [1, 0] of the indices, is outside of axis 1, where there are 0 to 2",
    ),
    Row(
        planted_by_others.token_outside_in_flax,
        (jnp.ones((4, 2)), jnp.array([3, 4])),
        F,
        "gather",
        "inside flax/linen/linear.py",
    ),
    Row(
        planted_by_others.product_in_equinox,
        (jnp.full((2, 2), 1e38), jnp.full((3, 2), 9.0)),
        F,
        "dot_general",
        "inside equinox/nn/_linear.py",
    ),
    Row(
        planted_by_others.jitted_in_equinox,
        (TWO, jnp.zeros(2)),
        F,
        "rsqrt",
        "inside equinox/nn/_normalisation",
    ),
    Row(
        planted_by_others.nan_behind_a_select,
        ({"w": jnp.array([1, NAN])}, TWO),
        F,
        "p['w']",
        "The first is element [1]. Then where at",
    ),
    Row(
        planted_by_others.infinite_example,
        (TWO, jnp.array([[1.0, 1.0], [1.0, INF]])),
        F,
        "sub",
        "came in with x, element [1, 1]",
    ),
    Row(planted_by_others.equation_that_ends, (jnp.zeros(1),), F, "log", "in odeint"),
    Row(planted_by_others.singular_determinant, (TWO,), F, "slogdet", "The determinant is 0"),
    Row(planted_by_others.variance_of_one, (TWO,), F, "var", "no more values than ddof"),
    Row(planted_by_others.equal_singular_values, (jnp.eye(2),), B, "svd", "two singular values are equal"),
    Row(planted_by_others.angle_of_nothing, (jnp.zeros(2),), B, "atan2", "no slope at (0, 0)"),
    Row(planted_by_others.length_with_a_jvp, (jnp.zeros(2),), B, "div", "the jvp of length, length_jvp at "),
    Row(planted_by_others.positions_of_iota, (TWO,), B, "sqrt", "The slope of a root is ∞ at 0"),
    Row(planted_by_others.focal, (jnp.float32(200),), B, "sqrt", "The slope of a root is ∞ at 0"),
    Row(planted.cosine_in_a_library, (TWO,), F, "div", "inside optax/losses"),
]


def is_finite(tree):
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.loss.__name__)
def test_what_goes_wrong_in_a_jitted_step_is_named(row):
    """The step goes wrong by JAX's gradients (of a while loop there are none) and by ours, but for one."""
    by_jax = jax.value_and_grad(row.loss) if row.direction == B else row.loss
    assert not is_finite(jax.jit(by_jax)(*row.args))
    assert is_finite(jax.jit(funcnet.value_and_grad(row.loss))(*row.args)) == row.only_jax

    found = funcnet.find_nonfinite(jax.jit(row.loss))(*row.args)

    lines, first = inspect.getsourcelines(row.marked or row.loss)
    (line,) = (first + i for i, text in enumerate(lines) if text.endswith("# here\n"))
    assert (found.direction, found.name, found.masked) == (row.direction, row.name, row.only_jax)
    file = inspect.getsourcefile(row.marked or row.loss)
    assert found.line.startswith(f"{file}:{line}:"), str(found)
    assert row.says in str(found), str(found)


def test_the_rows_are_all_the_planted_functions():
    losses = {
        f
        for module in (planted, planted_by_others)
        for f in vars(module).values()
        if inspect.isfunction(f) and f.__module__ == module.__name__
    }
    rules = {planted.cumprod_backward, planted.clipped_backward, planted_by_others.length_jvp}
    assert losses - rules == {row.loss for row in ROWS}
