"""What is wrong is refused, in words that name the mistake."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.custom_derivatives import linear_call

from funcnet import VJPCheckError, _jax, check_vjp
from funcnet._errors import FuncnetError
from tests.check.functions import (
    LAYER,
    SQUARE_MATRIX,
    TALL,
    X,
    cube,
    cube_times,
    energy,
    layer,
    layer_gradient,
    product,
    squares_times,
)
from tests.check.rows import Refused, array, custom

pytestmark = pytest.mark.in_turns(2)


def broken_layer(change):
    """The layer with a change to what its rule returns."""
    return custom(layer, lambda args, y_bar: change(*layer_gradient(args, y_bar)))


def spread_sum(x):
    return jnp.broadcast_to(x.sum(0), x.shape)


def spread_mean(x):
    return jnp.broadcast_to(x.mean(0), x.shape)


def two_outputs(x):
    return {"sin": jnp.sin(x), "cos": jnp.cos(x)}


def corner(x):
    return x * x


def attention(forgets):
    """Softmax attention, and the logarithm of its sums, as kernels return it, which must not be forgotten."""

    def attention(q, k, v):
        scores = q @ k.T
        sums = jax.nn.logsumexp(scores, axis=1)
        return jnp.exp(scores - sums[:, None]) @ v, sums

    def backward(args, y_bars):
        q, k, v = args
        o, sums = attention(q, k, v)
        o_bar, sums_bar = y_bars
        p = jnp.exp(q @ k.T - sums[:, None])
        of_sums = 0 if forgets else sums_bar[:, None]
        scores_bar = p * (o_bar @ v.T - (o_bar * o).sum(1, keepdims=True) + of_sums)
        return scores_bar @ k, scores_bar.T @ q, p.T @ o_bar

    return custom(attention, backward)


WRONG = [
    Refused(
        "a factor",
        cube_times(1.003),
        (X,),
        "WRONG",
        (
            "WRONG: cube, x: float64[4]: the rule is not the derivative",
            "worst      x[",
            "4 of 4 elements are off",
            "0.003 of the truth",
            "× the rounding noise",
            "autodiff of the primal and differences agree",
            "a factor: the rule is 1.003 × the truth",
            "funcnet.check_vjp(cube, jnp.array([0.5, -1.25, 2.0, 3.5], 'float32'), key=0)",
        ),
    ),
    Refused(
        "one result's upstream gradient",
        attention(forgets=True),
        (SQUARE_MATRIX[:2], SQUARE_MATRIX, TALL),
        "WRONG",
        (
            "WRONG: attention, q: float64[2,3]",
            "the upstream gradients of all results but result 0 are left out",
        ),
    ),
    Refused("the sign", cube_times(-1.0), (X,), "WRONG", ("the sign: the rule is −1 × the truth",)),
    Refused(
        "a mean for a sum",
        cube_times(0.25),
        (X,),
        "WRONG",
        ("a factor 1/4: a mean over 4 where a sum belongs",),
    ),
    Refused(
        "transposed, in a tree",
        broken_layer(lambda params, x: (params | {"w": params["w"].T}, x)),
        LAYER,
        "WRONG",
        ("WRONG: layer, params['w']: float64[3,3]: ", "worst      params['w'][", "transposed"),
    ),
    Refused(
        "a mean over the batch in one leaf",
        broken_layer(lambda params, x: (params | {"b": params["b"] / 3}, x)),
        LAYER,
        "WRONG",
        ("params['b']: float64[3]", "3 of 3 elements are off", "a mean over 3 where a sum belongs"),
    ),
    Refused(
        "left out",
        broken_layer(lambda params, x: (params, jnp.zeros_like(x))),
        LAYER,
        "WRONG",
        ("layer, x: float64[3,3]", "rule 0, autodiff", "all zero: the argument is left out of the rule"),
    ),
    Refused(
        "None for a float",
        custom(product, lambda args, y_bar: (y_bar * args[1], None)),
        (X, X[::-1]),
        "WRONG",
        ("product, b: float64[4]", "or its gradient was returned as None"),
    ),
    Refused(
        "swapped arguments",
        custom(product, lambda args, y_bar: (y_bar * args[0], y_bar * args[1])),
        (X, X[::-1] ** 2),
        "WRONG",
        ("product, a: float64[4]", "the gradient of another argument: the two are swapped"),
    ),
    Refused(
        "rolled",
        custom(cube, lambda args, y_bar: (jnp.roll(3 * args[0] ** 2 * y_bar, 1),)),
        (X,),
        "WRONG",
        ("rolled by 1 along axis 0",),
    ),
    Refused(
        "a missing sum",
        custom(spread_sum, lambda args, y_bar: (y_bar,)),
        (TALL,),
        "WRONG",
        ("spread_sum, x: float64[3,2]", "a sum over axis 0 is missing"),
    ),
    Refused(
        "a missing mean",
        custom(spread_mean, lambda args, y_bar: (y_bar,)),
        (TALL,),
        "WRONG",
        ("a mean over axis 0 is missing",),
    ),
    Refused(
        "one element",
        custom(cube, lambda args, y_bar: ((3 * args[0] ** 2 * y_bar).at[2].set(0.0),)),
        (X,),
        "WRONG",
        ("worst      x[2]: rule 0, autodiff ", "1 of 4 elements are off", "one element only, [2]: it is 0"),
    ),
    Refused(
        "through float16",
        custom(cube, lambda args, y_bar: ((3 * args[0] ** 2 * y_bar).astype("float16").astype(y_bar.dtype),)),
        (X,),
        "NONLINEAR",
        ("x̄(α ȳ₁ + β ȳ₂) is not α x̄(ȳ₁) + β x̄(ȳ₂)", "a short dtype on the way"),
    ),
    Refused(
        "a conjugate too many",
        custom(energy, lambda args, y_bar: (2 * args[0].conj() * y_bar,)),
        (array(1 + 2j, 0.5 - 1j, dtype="complex64"),),
        "WRONG",
        ("energy, z: complex128[2]", "2 of 2 elements are off"),
    ),
    Refused(
        "a second output forgotten",
        custom(two_outputs, lambda args, y_bar: (jnp.cos(args[0]) * y_bar["sin"],)),
        (X,),
        "WRONG",
        ("two_outputs, x: float64[4]", "4 of 4 elements are off"),
    ),
    Refused(
        "only beyond the arguments given",
        custom(corner, lambda args, y_bar: (jnp.where(args[0] > 10, 3.0, 2.0) * args[0] * y_bar,)),
        (X,),
        "WRONG",
        (
            "the rule is not the derivative, at 3 × the arguments",
            "worst      x[3]",
            "1 of 4 elements are off",
            "say where it lives with domain=, or elsewhere=()",
        ),
    ),
    Refused(
        "stop_gradient in a primal without a rule of its own",
        lambda x: x * lax.stop_gradient(x),
        (X,),
        "WRONG",
        ("is not the slope", "a stop_gradient in the primal", "forward mode"),
    ),
    Refused(
        "a transpose that is none",
        lambda x: linear_call(lambda _, x: 3 * x, lambda _, y_bar: 2 * y_bar, (), x),
        (X,),
        "WRONG",
        ("is not the slope", "forward mode is right: a transpose that is none, of a linear_call"),
        {"transforms": ()},
    ),
    Refused(
        "a gamma variate",
        lambda shape: jax.random.gamma(jax.random.key(0), shape),
        (array(1.5),),
        "WRONG",
        ("is not the slope", "one of its distribution, and not of what this key draws"),
        {"dtypes": (), "elsewhere": ()},
    ),
    Refused(
        "a rule that is not a number",
        custom(cube, lambda args, y_bar: (3 * args[0] ** 2 * y_bar * array(1, 1, jnp.nan, 1),)),
        (X,),
        "CONTRACT",
        ("the gradient is not finite where the function is", "x[2]: rule nan, autodiff", "1 of 4"),
    ),
    Refused(
        "an upstream gradient ignored",
        custom(cube, lambda args, y_bar: (3 * args[0] ** 2,)),
        (X,),
        "NONLINEAR",
        ("cube, x: float64[4]", "an upstream gradient of 0 gives one that is not 0", "is ignored"),
    ),
    Refused(
        "off by 1e-4 in a result that is float32, whatever comes",
        squares_times(1.0001),
        (X,),
        "WRONG",
        ("squares_in_float32, x: float64[4]", "a factor: the rule is 1.0001 × the truth"),
    ),
]


@pytest.mark.parametrize("row", WRONG, ids=str)
def test_a_wrong_rule_is_refused_in_words_that_name_the_mistake(row):
    row.test()


@pytest.mark.parametrize("delta", [1e-8, 1e-6, 1e-4])
def test_small_errors_are_refused_in_float64(delta):
    Refused(
        "small", cube_times(1 + delta), (X,), "WRONG", ("4 of 4 elements are off", "hint "), {"dtypes": ()}
    ).test()


def test_the_whole_message():
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(cube_times(1.003), X)
    first, *lines = str(caught.value).splitlines()
    assert first == "WRONG: cube, x: float64[4]: the rule is not the derivative"
    assert [line.split()[0] for line in lines] == ["worst", "error", "oracles", "hint", "rule", "reproduce"]
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, FuncnetError)
    assert caught.value.finding.function == "cube"
    assert caught.value.__suppress_context__


def shrunk(args, y_bar):
    return (2.9 * args[0] ** 2 * y_bar,)


def of_a_cube(x):
    return custom(cube, shrunk)(2 * x)


def of_two_cubes(x):
    return cube_times(1.0)(of_a_cube(x))


def slope_wise(x):
    return x**3


@jax.custom_gradient
def with_gradient(x):
    return x**3, lambda y_bar: (2.9 * x**2 * y_bar,)


def of_one_with_gradient(x):
    return with_gradient(2 * x)


SLOPE_WISE = jax.custom_jvp(slope_wise)
SLOPE_WISE.defjvps(lambda x_dot, y, x: 2.9 * x**2 * x_dot)


@pytest.mark.parametrize(
    ("function", "place"),
    [
        (custom(cube, shrunk), shrunk),
        (jax.jit(of_a_cube), shrunk),
        (of_two_cubes, of_two_cubes),
        (SLOPE_WISE, slope_wise),
        (with_gradient, _jax.written(with_gradient)),
        (of_one_with_gradient, of_one_with_gradient),
    ],
    ids=[
        "its own",
        "the only one that it calls",
        "one of two",
        "one for each argument",
        "a custom_gradient",
        "of a custom_gradient",
    ],
)
def test_the_line_is_that_of_the_rule(function, place):
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(function, X, dtypes=(), transforms=())
    assert dict(caught.value.finding.details)["rule"].endswith(f"refused.py:{place.__code__.co_firstlineno}")


def test_the_numbers_in_a_message_are_those_of_the_rule_and_of_the_truth():
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(cube_times(3.0), array(2.0))
    worst = dict(caught.value.finding.details)["worst"].replace(",", "").split()
    rule, autodiff, differences = (
        float(worst[worst.index(word) + 1]) for word in ("rule", "autodiff", "differences")
    )
    assert autodiff == pytest.approx(differences, rel=1e-8)
    assert rule == pytest.approx(3 * autodiff, rel=1e-8)
    assert 0.5 * 12 <= abs(autodiff) <= 1.5 * 12  # 3x² times an upstream gradient of 0.5 to 1.5
