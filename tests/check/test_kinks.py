"""Where the slopes to either side differ: what a rule may return there, and what it promises; ties."""

import functools

import jax
import jax.numpy as jnp
import pytest

from funcnet import VJPCheckError, check_kink, check_vjp
from funcnet._errors import ParameterError
from tests.check.rows import Refused, array, custom

AT_KINK = array(-1.5, 0.0, 2.0, 0.0)


def relu(x):
    return jnp.where(x > 0, x, 0.0)


def relu_with(slope):
    """relu with this slope at 0."""
    return custom(relu, lambda args, y_bar: (jnp.where(args[0] == 0, slope, args[0] > 0) * y_bar,))


def absolute_with(slope):
    return custom(jnp.abs, lambda args, y_bar: (jnp.where(args[0] == 0, slope, jnp.sign(args[0])) * y_bar,))


def clip(x):
    return jnp.clip(x, -1.0, 1.0)


def clip_with(slope):
    inside = lambda x: jnp.where(abs(x) == 1, slope, abs(x) < 1)  # noqa: E731
    return custom(clip, lambda args, y_bar: (inside(args[0]) * y_bar,))


TIED = array(0.5, 2.0, -1.0, 2.0, 2.0)


def maximum(x):
    return x.max()


def shared(x):
    winners = x == x.max()
    return winners / winners.sum()


def first(x):
    return jnp.arange(x.size) == x.argmax()


def everyone(x):
    return x == x.max()


def nobody(x):
    return (x == x.max()) & ((x == x.max()).sum() == 1)


def maximum_with(weights):
    """max with these weights of the winners."""
    return custom(maximum, lambda args, y_bar: (weights(args[0]) * y_bar,))


def in_order(x):
    return jnp.sort(x)


def unsort(args, y_bar):
    return (jnp.zeros_like(y_bar).at[jnp.argsort(args[0])].set(y_bar),)


def unsort_to_the_first(args, y_bar):
    """Equal elements all write to the place of the first of them."""
    places = jnp.searchsorted(jnp.sort(args[0]), args[0])
    return (y_bar[places],)


BOUNDS = array(-1.0, 0.25, 1.0, 3.0)

ALLOWED = [
    ("relu'(0) = 0", relu_with(0.0), AT_KINK, (None, 0)),
    ("relu'(0) = 0.5", relu_with(0.5), AT_KINK, (None, 0.5)),
    ("relu'(0) = 1", relu_with(1.0), AT_KINK, (None, 1)),
    ("|x|'(0) = 0", absolute_with(0.0), AT_KINK, (None, 0.5)),
    ("|x|'(0) = -1", absolute_with(-1.0), AT_KINK, (None, 0)),
    ("clip'(1) = 0", clip_with(0.0), BOUNDS, (None,)),
    ("clip'(1) = 1", clip_with(1.0), BOUNDS, (None,)),
    ("the winners of max share", maximum_with(shared), TIED, (None,)),
    ("the first winner of max has it all", maximum_with(first), TIED, (None,)),
    ("sort", custom(in_order, unsort), TIED, (None,)),
    ("JAX's relu", jax.nn.relu, AT_KINK, (None, 0)),
    ("JAX's max", jnp.max, TIED, (None,)),
    ("JAX's sort", jnp.sort, TIED, (None,)),
    ("JAX's maximum", functools.partial(jnp.maximum, jnp.zeros(4)), AT_KINK, (None, 0.5)),
]


@pytest.mark.parametrize(
    ("function", "x", "promises"), [row[1:] for row in ALLOWED], ids=[row[0] for row in ALLOWED]
)
def test_what_lies_between_the_slopes_is_accepted(function, x, promises):
    for promise in promises:
        check_vjp(function, x, kinks=promise, transforms=(), dtypes=())


def refused(name, function, x, *words, verdict="KINK", kinks=None):
    return Refused(name, function, (x,), verdict, words, {"kinks": kinks, "transforms": (), "dtypes": ()})


ROWS = [
    refused(
        "relu'(0) = 2",
        relu_with(2.0),
        AT_KINK,
        "relu, x: float64[4]: the rule is not between the slopes to either side of the kink",
        "2 of 4 elements are off",
        "to either side; a tie: x[1], x[3] are all 0",
        "'float32'), dtypes=(), transforms=(), key=0)",
    ),
    refused("relu'(0) = -0.1", relu_with(-0.1), AT_KINK, "KINK: relu, x", "kink ", "slopes "),
    refused(
        "relu'(0) = 2, at one 0",
        relu_with(2.0),
        AT_KINK[:3],
        "1 of 3 elements are off",
        "to either side, where x[1] = 0",
    ),
    refused("|x|'(0) = 1.5", absolute_with(1.5), AT_KINK, "KINK: abs, x", "x[1], x[3] are all 0"),
    refused("clip'(1) = 1.5", clip_with(1.5), BOUNDS, "KINK: clip, x", "2 of 4 elements are off"),
    refused(
        "every winner of max has it all",
        maximum_with(everyone),
        TIED,
        "maximum",
        "x[1], x[3], x[4] are all 2",
    ),
    refused(
        "no winner of max has anything", maximum_with(nobody), TIED, "maximum", "x[1], x[3], x[4] are all 2"
    ),
    refused("equal elements of sort as one", custom(in_order, unsort_to_the_first), TIED, "in_order"),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_lies_outside_is_refused_and_the_kink_is_named(row):
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(row.function, *row.args, **row.options)
    message = str(caught.value)
    assert caught.value.verdict in ("KINK", "WRONG")
    assert [word for word in row.words if word not in message] == [], message


PROMISES = [
    refused(
        "0 promised, 0.5 kept",
        relu_with(0.5),
        AT_KINK,
        "promises 0 of the way from left to right, and does not keep it",
        "⟨x̄, v⟩ ",
        "slopes 0 and ",
        "v moves x[",
        kinks=0,
    ),
    refused("1 promised, 0.5 kept", relu_with(0.5), AT_KINK, "promises 1 of the way", kinks=1),
    refused("0.5 promised, 0 kept", jax.nn.relu, AT_KINK, "promises 0.5 of the way", kinks=0.5),
    refused("0 promised, 0.5 kept by |x|", absolute_with(0.0), AT_KINK, "promises 0 of the way", kinks=0),
]


@pytest.mark.parametrize("row", PROMISES, ids=str)
def test_a_promise_at_a_kink_that_is_not_kept_is_refused(row):
    row.test()


def test_a_promise_binds_at_kinks_alone():
    check_vjp(relu_with(0.5), array(-1.0, 2.0, 3.0), kinks=0, transforms=(), dtypes=())


# check_kink: along one direction.


def test_check_kink_returns_the_slopes_to_either_side():
    sides = check_kink(lambda x: 3 * jnp.maximum(x, 0) - jnp.maximum(-x, 0), 0.0, along=1.0)
    low, high = sorted((sides.left, sides.right), key=abs)  # times the upstream gradient, of either sign
    assert high / low == pytest.approx(3.0, rel=1e-8)
    assert sides.kink
    assert sides.value == pytest.approx((low + high) / 2, rel=1e-8)


def test_check_kink_of_a_smooth_function_has_one_slope():
    slope = check_kink(lambda x: (x**3).sum(), array(1.0, 2.0), along=array(1.0, -1.0))
    assert not slope.kink
    assert slope.left == pytest.approx(slope.right, rel=1e-6)
    assert 0.5 * 9 <= abs(slope.value) <= 1.5 * 9  # 3·1² − 3·2², times the upstream gradient


def test_check_kink_sees_the_direction_given_alone():
    wrong_at_zero = relu_with(2.0)
    assert not check_kink(wrong_at_zero, AT_KINK, along=array(1.0, 0, 1, 0)).kink
    with pytest.raises(
        VJPCheckError, match=r"KINK: .*not between the slopes.*along the direction given"
    ) as caught:
        check_kink(wrong_at_zero, AT_KINK, along=array(0.0, 0, 0, 1))
    assert "v moves x[3] = 0" in str(caught.value)


@pytest.mark.in_turns(4)
def test_check_kink_of_a_function_that_does_not_end():
    endless = jax.custom_jvp(lambda x: jax.lax.while_loop(lambda x: x < 1e30, lambda x: x * 1, x))
    endless.defjvps(lambda x_dot, y, x: x_dot)
    with pytest.raises(VJPCheckError, match="does not end"):
        check_kink(endless, 0.5, along=1.0)


def test_check_kink_of_a_wrong_gradient_where_there_is_no_kink():
    with pytest.raises(VJPCheckError, match="is not the slope along the direction given") as caught:
        check_kink(custom(jnp.sin, lambda args, y_bar: (y_bar,)), array(1.0, 2.0), along=array(1.0, 0.0))
    assert caught.value.verdict == "WRONG"


def test_check_kink_along_one_of_several_arguments_and_trees():
    def loss(params, x, scale):
        return (scale * relu(x @ params["w"])).sum()

    params, x = {"w": jnp.eye(2)}, array(0.0, 1.0)
    assert check_kink(loss, params, x, 2.0, along=(None, array(1.0, 0.0), None)).kink
    smooth = ({"w": jnp.zeros((2, 2))}, array(0.0, 1.0), 0.5)
    assert not check_kink(loss, params, x, 2.0, along=smooth).kink


@pytest.mark.parametrize("along", [jnp.ones(3), {"x": jnp.ones(4)}, (jnp.ones(4), jnp.ones(4)), None])
def test_a_direction_that_does_not_fit_is_an_error(along):
    if along is None:
        along = [jnp.ones(4)]
    with pytest.raises(
        ParameterError, match=r"along has the structure .*expected for each argument None or arrays like it"
    ):
        check_kink(relu, AT_KINK, along=along)


def safe_root_gradient(factor):
    """0 where the slope is infinite, so that it can be multiplied by 0."""

    def backward(args, y_bar):
        (x,) = args
        return (jnp.where(x == 0, 0.0, factor * y_bar / (2 * jnp.sqrt(jnp.where(x == 0, 1.0, x)))),)

    return backward


def test_a_rule_may_say_anything_where_there_is_no_derivative():
    report = check_vjp(custom(jnp.sqrt, safe_root_gradient(1.0)), array(0.0, 1.0, 2.0))
    assert any(
        "autodiff is not finite at x[0], and the differences find no slope" in note for note in report.notes
    )
    Refused(
        "beside it", custom(jnp.sqrt, safe_root_gradient(3.0)), (array(0.0, 1.0, 2.0),), "WRONG", ()
    ).test()
