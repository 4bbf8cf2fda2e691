"""The checker sees what is wrong, and nothing wrong in what is right: the rules of study.py.

They take turns. The table of all, at all sizes, beside `jax.test_util.check_grads`, is printed by
`python -m tests.benchmarks.bench_checker`.
"""

import functools
from collections import Counter

import jax
import numpy as np
import pytest

from funcnet import VJPCheckError, check_vjp
from tests.check.study import BEYOND, UNCHANGED, WAYS, wrong
from tests.check.study_rules import DTYPES, RULES, SIZES

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def upstream_gradient(rule, args):
    """Of either sign, no two equal, larger than 1."""

    def numbers(y):
        signs = np.resize([-1.0, 1.0], y.shape)
        return (signs * np.linspace(1.1, 3.3, y.size).reshape(y.shape)).astype(y.dtype)

    return jax.tree.map(numbers, jax.eval_shape(rule.primal, *args))


def answer(rule, args, y_bar):
    y, stash = rule.forward(*args)
    return y, rule.backward(stash, y_bar)


@each_rule
def test_a_right_rule_is_autodiff_of_its_primal(x64, rule):
    args = rule.args(64, "float64")
    y_bar = upstream_gradient(rule, args)

    def autodiff(args, y_bar):
        y, back = jax.vjp(rule.primal, *args)
        return y, back(y_bar)

    expected_y, expected = jax.jit(autodiff, compiler_options=QUICK)(args, y_bar)
    y, x_bars = jax.jit(functools.partial(answer, rule), compiler_options=QUICK)(args, y_bar)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-13), y, expected_y)
    for triple in zip(args, x_bars, expected, strict=True):
        if triple[1] is not None:
            jax.tree.map(functools.partial(assert_close_off_kinks, rule), *triple)


def assert_close_off_kinks(rule, x, x_bar, expected):
    """At 0, where JAX gives maximum(x, 0) the slope 0.5, relu's is 0."""
    smooth = x != 0 if rule.name == "relu" else ...
    np.testing.assert_allclose(x_bar[smooth], expected[smooth], rtol=0, atol=1e-13 * abs(expected).max())


@each_rule
def test_a_wrong_rule_is_wrong(rule):
    args = rule.args(8)
    y_bar = upstream_gradient(rule, args)
    ways = WAYS | {name: way for name, (way, *_) in BEYOND.items()}
    rules = {"right": rule} | {name: way(rule) for name, way in ways.items()}
    run = jax.jit(
        lambda args, y_bar: {name: answer(one, args, y_bar) for name, one in rules.items()},
        compiler_options=QUICK,
    )

    def wrong_at(args, y_bar):
        answers = jax.device_get(run(args, y_bar))
        return {name for name, one in answers.items() if not same(one, answers["right"])}

    unchanged = {name for name, (_, names) in UNCHANGED.items() if rule.name in names}
    assert wrong_at(args, y_bar) == WAYS.keys() - unchanged
    for name, (_, x_factor, y_factor) in BEYOND.items():
        assert name in wrong_at(multiplied(args, x_factor), multiplied(y_bar, y_factor))


def multiplied(tree, factor):
    return jax.tree.map(lambda x: x * x.dtype.type(factor if x.dtype == np.float32 else 1), tree)


def same(one, other):
    """Whether two answers are the same, but for rounding."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(a.dtype == b.dtype and np.allclose(a, b, rtol=1e-6, atol=0) for a, b in pairs)


@pytest.mark.in_turns(2 * len(SIZES))
@pytest.mark.parametrize("n", SIZES)
@each_rule
def test_a_right_rule_is_accepted(rule, n):
    check_vjp(rule.custom_vjp(), *rule.args(n), dtypes=DTYPES)


@pytest.mark.in_turns(3)
@each_rule
def test_a_right_rule_is_accepted_on_short_floats(rule):
    check_vjp(rule.custom_vjp(), *rule.args(1024, "bfloat16"))


EACH_WRONG = [(rule, name) for rule in RULES for name in wrong(rule)]
DAYS = 8


def test_there_are_many_ways_to_break_each_rule():
    assert min(Counter(rule.name for rule, _ in EACH_WRONG).values()) >= 25


@pytest.mark.in_turns(DAYS)
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("rule", "name"), EACH_WRONG, ids=[f"{rule.name}-{name}" for rule, name in EACH_WRONG]
)
def test_a_wrong_rule_is_caught(rule, name, request):
    """At one size, which changes from turn to turn too."""
    round_of_turns = request.config.getoption("turn") // DAYS
    n = SIZES[(RULES.index(rule) + list(wrong(rule)).index(name) + round_of_turns) % len(SIZES)]
    with pytest.raises(VJPCheckError):
        check_vjp(wrong(rule)[name].custom_vjp(), *rule.args(n))
