"""What a rule owes to JAX: each promise broken once; and the stash of rules whose stash is known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import Tracer

from funcnet import VJPCheckError, check_contract, check_vjp
from tests.check.rows import Refused, array, custom

pytestmark = pytest.mark.in_turns(2)

X = array(0.5, -1.25, 2.0, 3.5)


def sine(x):
    return jnp.sin(x)


def sine_gradient(args, y_bar):
    return (jnp.cos(args[0]) * y_bar,)


def with_forward(forward):
    """sin with another forward pass."""
    function = jax.custom_vjp(sine)
    function.defvjp(lambda x: (forward(x), (x,)), sine_gradient)
    return function


def taken(x, rows):
    return x[rows]


def drawn(x, key):
    return x * jax.random.normal(key, x.shape)


def on_host(function, **options):
    """A function that runs outside of XLA."""
    return lambda x: jax.pure_callback(
        lambda x: function(np.asarray(x)), jax.ShapeDtypeStruct(x.shape, x.dtype), x, **options
    )


COUNTER = itertools.count(1)

counted = on_host(lambda x: np.cos(x) * next(COUNTER), vmap_method="sequential")


@jax.custom_batching.custom_vmap
def batched_cosine(x):
    return jnp.cos(x)


@batched_cosine.def_vmap
def batched_sine(axis_size, in_batched, x):
    return jnp.sin(x), True


def cosine_under_jit_alone(x):
    return jnp.cos(x) * (1.0 if isinstance(x, Tracer) else 1.001)


def for_float64_alone(args, y_bar):
    assert y_bar.dtype == "float64", "wide numbers are needed"
    return (y_bar * jnp.cos(args[0]),)


ROWS = [
    Refused(
        "an assertion that fails in the rule",
        custom(sine, for_float64_alone),
        (X,),
        "CONTRACT",
        ("its gradient cannot be traced in float32", "AssertionError: wide numbers are needed"),
    ),
    Refused(
        "a shorter dtype",
        custom(sine, lambda args, y_bar: ((jnp.cos(args[0]) * y_bar).astype("float16"),)),
        (X,),
        "CONTRACT",
        (
            "sine, x: float",
            "the gradient is float16[4], expected the type of the argument",
            ".astype(x.dtype)",
        ),
    ),
    Refused(
        "float32 for a bfloat16 argument",
        custom(sine, lambda args, y_bar: (jnp.cos(args[0].astype("float32")) * y_bar,)),
        (X.astype("bfloat16"),),
        "CONTRACT",
        ("sine, x: bfloat16[4]: the gradient is float32[4]", ".astype(x.dtype)"),
    ),
    Refused(
        "another shape",
        custom(lambda x, b: x + b, lambda args, y_bar: (y_bar, y_bar)),
        (jnp.ones((2, 4)), X),
        "CONTRACT",
        ("float32[2,4]", "float32[4]"),
    ),
    Refused(
        "too few gradients",
        custom(lambda x, b: x + b, lambda args, y_bar: (y_bar,)),
        (X, X),
        "CONTRACT",
        ("its gradient cannot be traced",),
    ),
    Refused(
        "a decomposition that JAX does not differentiate",
        lambda a: jnp.linalg.eig(a)[1],
        (jnp.asarray([[1.0, 2.0], [0.5, -1.0]]),),
        "CONTRACT",
        ("its gradient cannot be traced", "Derivatives of non-symmetric eigenvectors"),
    ),
    Refused(
        "another tree",
        custom(lambda p: p["w"] * p["b"], lambda args, y_bar: ({"w": y_bar * args[0]["b"]},)),
        ({"w": X, "b": X},),
        "CONTRACT",
        ("its gradient cannot be traced",),
    ),
    Refused(
        "forward is not the function",
        with_forward(lambda x: jnp.sin(x) * 1.001),
        (X,),
        "CONTRACT",
        ("sine: forward returns another result than the function", "worst      y[", ": got ", ", expected "),
    ),
    Refused(
        "a gradient for integers",
        custom(
            taken,
            lambda args, y_bar: (jnp.zeros_like(args[0]).at[args[1]].add(y_bar), jnp.zeros_like(args[1])),
        ),
        (X, jnp.array([0, 2])),
        "CONTRACT",
        (
            "returns int32[2] for an argument without floats",
            "JAX drops in silence",
            "return None for integers",
        ),
    ),
    Refused(
        "another answer when it is repeated",
        custom(sine, lambda args, y_bar: (counted(args[0]) * y_bar,)),
        (X,),
        "CONTRACT",
        (
            "sine, x: float64[4]",
            "the same call gives another gradient when it is repeated",
            "randomness without a key",
        ),
    ),
    Refused(
        "another answer without jit",
        custom(sine, lambda args, y_bar: (cosine_under_jit_alone(args[0]) * y_bar,)),
        (X,),
        "CONTRACT",
        ("sine, x: float64[4]: without jit the gradient is another than under jit", "0.001 of the truth"),
    ),
    Refused(
        "another answer under vmap",
        custom(sine, lambda args, y_bar: (batched_cosine(args[0]) * y_bar,)),
        (X,),
        "CONTRACT",
        ("sine, x: float64[4]: under vmap the gradient is another than for each example",),
    ),
    Refused(
        "not under vmap",
        custom(sine, lambda args, y_bar: (on_host(np.cos)(args[0]) * y_bar,)),
        (X,),
        "CONTRACT",
        ("does not run under vmap", "NotImplementedError", "leave vmap out of transforms"),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_promise_broken_is_refused_by_the_whole_check(row):
    row.test()


@pytest.mark.parametrize("row", [row for row in ROWS if "repeated" not in row.name], ids=str)
def test_and_by_check_contract_alone(row):
    with pytest.raises(VJPCheckError) as caught:
        check_contract(row.function, *row.args)
    message = str(caught.value)
    assert caught.value.verdict == "CONTRACT"
    assert [word for word in row.words if word not in message] == [], message


@pytest.mark.parametrize(
    ("transforms", "function"),
    [
        ((), custom(sine, lambda args, y_bar: (on_host(np.cos)(args[0]) * y_bar,))),
        (("jit",), custom(sine, lambda args, y_bar: (batched_cosine(args[0]) * y_bar,))),
        (("vmap",), custom(sine, lambda args, y_bar: (cosine_under_jit_alone(args[0]) * y_bar,))),
    ],
)
def test_a_transform_that_is_left_out_is_not_checked(transforms, function):
    check_vjp(function, X, transforms=transforms)


def test_check_contract_does_not_ask_whether_the_numbers_are_right():
    check_contract(custom(sine, lambda args, y_bar: (3 * y_bar,)), X)


def test_none_is_the_gradient_of_integers_and_keys():
    table = custom(taken, lambda args, y_bar: (jnp.zeros_like(args[0]).at[args[1]].add(y_bar), None))
    check_contract(table, X, jnp.array([0, 2]))
    noise = custom(drawn, lambda args, y_bar: (y_bar * jax.random.normal(args[1], y_bar.shape), None))
    check_contract(noise, X, jax.random.key(0))


# The stash: rule, arguments, bytes kept, bytes never read.


def keeping(stash, backward):
    function = jax.custom_vjp(lambda x, w: jnp.sin(x) * w)
    function.defvjp(lambda x, w: (jnp.sin(x) * w, stash(x, w)), backward)
    return function


def from_cos_and_sin(stash, y_bar):
    cos, sin, w, *_ = stash
    return y_bar * cos * w, y_bar * sin


STASHES = [
    ("what it needs", keeping(lambda x, w: (jnp.cos(x), jnp.sin(x), w), from_cos_and_sin), 3 * 16, 0),
    (
        "an array too many",
        keeping(lambda x, w: (jnp.cos(x), jnp.sin(x), w, jnp.exp(x)), from_cos_and_sin),
        4 * 16,
        16,
    ),
    (
        "two, one of them bfloat16",
        keeping(
            lambda x, w: (jnp.cos(x), jnp.sin(x), w, x.astype("bfloat16"), x[:2, None] + w), from_cos_and_sin
        ),
        3 * 16 + 8 + 32,
        8 + 32,
    ),
]


@pytest.mark.parametrize(
    ("function", "kept", "unread"), [row[1:] for row in STASHES], ids=[row[0] for row in STASHES]
)
def test_the_stash_is_what_forward_keeps_and_the_unread_what_backward_does_not_use(function, kept, unread):
    report = check_vjp(function, X, 1 + X, transforms=())
    assert (report.stash.bytes, report.stash.unread) == (kept, unread)
    assert f"{kept} bytes kept for backward" in str(report)
    assert ("of which it never reads" in str(report)) == bool(unread)


def test_the_report_names_the_arrays_that_backward_never_reads():
    text = str(check_vjp(STASHES[2][1], X, 1 + X, transforms=()))
    assert "88 bytes kept for backward, of which it never reads 40: bfloat16[4], float32[2,4]" in text


def test_a_function_that_does_not_run_under_vmap_itself_is_no_fault_of_its_rule():
    hosted = custom(on_host(np.sin), lambda args, y_bar: (y_bar * jnp.cos(args[0]),))
    notes = check_vjp(hosted, X).notes
    assert any(note.startswith("not checked under vmap, where the function does not run") for note in notes)
