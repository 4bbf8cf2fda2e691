"""The rule of convolutions, row by row, and what it costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from tests.rules.rows import Row, check, check_low_precision, complex_normal, each, normal


def conv(strides, padding, x_dilation=None, w_dilation=None, layout=None, **options):
    return lambda x, w: lax.conv_general_dilated(
        x, w, strides, padding, x_dilation, w_dilation, dimension_numbers=layout, **options
    )


SCRAMBLED = lax.ConvDimensionNumbers((1, 3, 0, 2), (2, 0, 3, 1), (3, 1, 2, 0))

ROWS = [
    Row(
        "conv_general_dilated",
        conv((1, 1), "SAME", layout=("NHWC", "HWIO", "NHWC")),
        normal((2, 4, 5, 3), (3, 2, 3, 2)),
        name="images, even kernel",
    ),
    Row(
        "conv_general_dilated",
        conv((3,), [(1, 0)]),
        normal((1, 2, 9), (2, 2, 3)),
        name="a stride that leaves inputs out",
    ),
    Row(
        "conv_general_dilated",
        conv((2, 1), [(1, 2), (0, 4)], (1, 3), (2, 3), SCRAMBLED),
        normal((5, 2, 4, 3), (3, 2, 2, 3)),
        name="strides, dilations, uneven padding, any layout",
    ),
    Row(
        "conv_general_dilated",
        conv((2, 1), [(-1, -2), (7, -3)], (2, 2), (1, 2), SCRAMBLED),
        normal((5, 2, 4, 3), (3, 2, 2, 3)),
        name="padding that cuts off, or is wider than the kernel",
    ),
    Row(
        "conv_general_dilated",
        conv((2, 1), [(1, 1), (0, 2)], (1, 2), (1, 2), SCRAMBLED, feature_group_count=2),
        normal((4, 2, 4, 6), (3, 2, 4, 2)),
        name="groups of features",
    ),
    Row(
        "conv_general_dilated",
        conv((1,), "SAME", feature_group_count=3),
        normal((2, 3, 4), (6, 1, 3)),
        name="depthwise",
    ),
    Row(
        "conv_general_dilated",
        conv((2, 1), [(1, 1), (0, 2)], (1, 2), (1, 2), SCRAMBLED, batch_group_count=2),
        normal((4, 4, 4, 3), (3, 2, 4, 2)),
        name="groups of examples",
    ),
    Row("conv_general_dilated", conv((), []), normal((3, 2), (4, 2)), name="no axis"),
    Row(
        "conv_general_dilated",
        conv((1, 1, 1), "VALID"),
        normal((1, 1, 2, 3, 2), (1, 1, 2, 1, 2)),
        name="volumes",
    ),
    Row("conv_general_dilated", conv((1,), "SAME"), complex_normal((1, 2, 4), (2, 2, 2)), name="complex"),
    Row("conv_general_dilated", conv((1,), "SAME"), normal((0, 2, 4), (2, 2, 3)), name="no examples"),
    Row("conv_general_dilated", conv((1,), "VALID"), normal((1, 2, 2), (2, 2, 3)), name="no outputs"),
    Row(
        "conv_general_dilated",
        lambda x, w: lax.conv_transpose(x, w, (2,), "SAME", dimension_numbers=("NHC", "HIO", "NHC")),
        normal((1, 3, 2), (3, 2, 2)),
        name="transposed",
    ),
]


@each(ROWS)
def test_rule(row):
    check(row)


@pytest.mark.in_turns(3)
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_low_precision(dtype):
    check_low_precision(Row("conv_general_dilated", conv((2,), "SAME"), normal((2, 3, 5), (4, 3, 3))), dtype)


def test_gradients_of_a_wide_result_are_rounded_once():
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.normal(size=shape), jnp.bfloat16) for shape in ((2, 3, 5), (4, 3, 3)))
    y_bar = jnp.asarray(rng.normal(size=(2, 4, 3)), jnp.float32)
    _, pullback = funcnet.vjp(conv((2,), "SAME", preferred_element_type=jnp.float32), x, w)
    _, exact = jax.vjp(conv((2,), "SAME"), x.astype(jnp.float32), w.astype(jnp.float32))
    for x_bar, right in zip(pullback(y_bar), exact(y_bar), strict=True):
        np.testing.assert_array_equal(x_bar, right.astype(jnp.bfloat16))


def test_gradients_compile_to_the_convolutions_of_jax():
    def net(x, w1, w2):
        layout = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(x, w1, (1, 1), "SAME", dimension_numbers=layout)
        return lax.conv_general_dilated(
            y, w2, (2, 2), "SAME", dimension_numbers=layout, feature_group_count=8
        )

    def compiled(vjp):
        def gradients(y_bar, *xs):
            return vjp(net, *xs)[1](y_bar)

        xs = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 8)), jnp.ones((3, 3, 1, 8))
        return jax.jit(gradients).lower(jnp.ones((2, 4, 4, 8)), *xs).compile()

    ours, theirs = compiled(funcnet.vjp), compiled(jax.vjp)
    assert ours.cost_analysis()["flops"] <= theirs.cost_analysis()["flops"]
    assert ours.cost_analysis()["bytes accessed"] <= theirs.cost_analysis()["bytes accessed"]
    assert ours.memory_analysis().temp_size_in_bytes <= theirs.memory_analysis().temp_size_in_bytes
