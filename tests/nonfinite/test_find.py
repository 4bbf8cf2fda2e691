"""What find_nonfinite takes and refuses, and what its finding says of a whole training step."""

import jax
import jax.numpy as jnp
import optax
import pytest

import funcnet
from funcnet._errors import GradientError

pytestmark = pytest.mark.in_turns(2)


def test_finite_values_and_gradients_give_none():
    assert funcnet.find_nonfinite(lambda w, x: jnp.sum(jnp.tanh(w * x)))(jnp.ones(3), jnp.ones(3)) is None


def test_what_a_select_leaves_behind_is_no_finding():
    """The infinity is there in forward, but the result is made without it, and no gradient was asked for."""
    f = lambda x: jnp.sum(jnp.where(x > 0, jnp.log(x), 0.0))  # noqa: E731
    assert funcnet.find_nonfinite(f, argnums=())(jnp.zeros(2)) is None
    assert funcnet.find_nonfinite(f)(jnp.zeros(2)).masked


def test_only_the_gradient_that_is_asked_for_is_looked_at():
    f = lambda w, x: w * jnp.sqrt(x)  # noqa: E731
    assert funcnet.find_nonfinite(f)(2.0, 0.0) is None
    assert funcnet.find_nonfinite(f, argnums=-1)(2.0, 0.0).name == "sqrt"
    assert funcnet.find_nonfinite(f, argnums=(0, 1))(2.0, 0.0).name == "sqrt"


def test_aux_is_not_looked_at():
    f = lambda x: (x**2, {"log": jnp.log(x)})  # noqa: E731
    assert funcnet.find_nonfinite(f, has_aux=True)(0.0) is None
    assert funcnet.find_nonfinite(f)(0.0).name == "log"


def test_the_rules_of_the_gradient_in_question():
    f = lambda x: jnp.sqrt(x) ** 2  # noqa: E731
    assert funcnet.find_nonfinite(f)(0.0).name == "sqrt"
    assert funcnet.find_nonfinite(f, rules=funcnet.STRONG_ZERO)(0.0) is None


def test_arguments_that_are_no_arrays_are_passed_on():
    def power(x, how, *, base=1.0):
        return jnp.log(x - base) if how == "log" else x

    assert funcnet.find_nonfinite(power)(1.0, "log").name == "log"
    assert funcnet.find_nonfinite(power)(1.0, "same", base=2.0) is None


def test_what_a_function_closes_over():
    table = jnp.array([1.0, jnp.nan])
    found = funcnet.find_nonfinite(lambda x: jnp.sum(table * x))(1.0)
    assert (found.name, found.primitive) == ("a value that it closes over", "")


def test_the_infinity_comes_before_the_nan_that_is_made_of_it():
    found = funcnet.find_nonfinite(lambda x: jnp.exp(x) - jnp.exp(2 * x))(100.0)
    assert (found.name, found.then.name) == ("exp", "sub")
    assert "Then sub at" in str(found)
    assert "made NaN of it" in str(found)


def test_a_whole_step_with_its_gradient_and_optimizer():
    """As one function of values: the gradient's own gates are on the way forward then."""
    adam = optax.adam(1e-3)

    @jax.jit
    def step(params, state, x):
        gradient = jax.grad(lambda params: jnp.sum(jnp.sqrt(params * x)))(params)
        updates, state = adam.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    params = jnp.ones(2)
    found = funcnet.find_nonfinite(step, argnums=())(params, adam.init(params), jnp.array([0.0, 1.0]))
    assert found.direction == "forward"
    assert "(test_a_whole_step_with_its_gradient_and_optimizer.<locals>.step.<locals>.<lambda>)" in found.line


def test_the_formula_of_a_gate_of_nn():
    """Its backward is made of many operations; the finding is the gate."""
    found = funcnet.find_nonfinite(lambda x: jnp.sum(funcnet.nn.relu(x) * jnp.float32(1e38) * 10))(
        jnp.ones(2)
    )
    assert (found.direction, found.name) == ("forward", "mul")
    loss = lambda x: jnp.sum(jnp.float32(1e38) * funcnet.nn.linear(x, 10 * jnp.ones((2, 2))) * 1e-30)  # noqa: E731
    found = funcnet.find_nonfinite(loss)(1e-4 * jnp.ones((1, 2)))
    assert found is None
    square = lambda x: jnp.sum(jnp.float32(1e38) * funcnet.nn.linear(x, 1e3 * jnp.ones((2, 2))))  # noqa: E731
    found = funcnet.find_nonfinite(square)(jnp.zeros((1, 2)))
    assert (found.direction, found.name) == ("backward", "linear")
    assert funcnet.nn.linear.formula in str(found)


def test_a_whole_power_is_too_large_or_of_0():
    assert "too large for float32" in str(funcnet.find_nonfinite(lambda x: x**2)(1e30))
    assert "The divisor is 0" in str(funcnet.find_nonfinite(lambda x: x**-2)(0.0))


def test_a_traced_argument_is_refused():
    with pytest.raises(GradientError, match=r"a value that is being traced.*call it outside of jit"):
        jax.jit(lambda x: funcnet.find_nonfinite(jnp.log)(x).made)(0.0)


def test_a_place_that_is_not_there_is_refused():
    with pytest.raises(GradientError, match="argnums is 1, expected places among its 1 arguments"):
        funcnet.find_nonfinite(jnp.log, argnums=1)(0.0)


def test_a_loop_without_steps():
    f = lambda x: jax.lax.scan(lambda c, y: (c * y, None), jnp.log(x), jnp.ones(0))[0]  # noqa: E731
    assert funcnet.find_nonfinite(f)(0.0).name == "log"


def test_a_loop_in_a_loop():
    def f(x):
        def outer(c, y):
            return jax.lax.fori_loop(0, 3, lambda i, h: h / (y - i), c), None

        return jax.lax.scan(outer, x, jnp.array([5.0, 1.0, 4.0]), reverse=True)[0]

    found = funcnet.find_nonfinite(f)(1.0)
    assert found.name == "div"
    assert [one for one in found.within if "step" in one] == [
        "step 1 of the 3 of scan",
        "step 1 of the 3 of scan",
    ]


def test_a_nan_that_led_to_an_infinity_by_a_condition_was_first():
    """In the step of a scan; in a function that is called; and not one that is written in the code."""

    def step(c, _):
        return jnp.log(c - 1), jnp.where(jnp.isnan(c), jnp.inf, c)

    found = funcnet.find_nonfinite(lambda x: jax.lax.scan(step, x, length=5)[1].sum(), argnums=())(5.0)
    assert (found.name, found.what, found.then.name, found.then.what) == ("log", "NaN", "where", "∞")
    assert "step 2 of the 5 of scan" in found.within

    filled = jax.jit(lambda x: jnp.where(jnp.isnan(x), jnp.inf, x))
    found = funcnet.find_nonfinite(lambda p: jnp.sum(filled(p)))(jnp.array([1.0, jnp.nan]))
    assert (found.name, found.primitive, found.place, found.then.name) == ("p", "", (1,), "where")

    def loop(x):
        state = jax.lax.while_loop(lambda s: s[2] < 3, lambda s: (2 * s[0], s[1], s[2] + 1), (x, jnp.nan, 0))
        return 1 / (state[0] - 8) + 0 * jnp.isnan(state[1])

    assert funcnet.find_nonfinite(loop)(1.0).name == "div"
