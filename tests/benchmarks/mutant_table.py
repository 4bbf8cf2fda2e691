"""Forty small bugs for `tests.benchmarks.mutants` to put into the package, one at a time.

A mutant is a row: its name, what is wrong with it in a line, and the edits that make it so. Each is a slip
that a competent author could make and a reviewer overlook: a sign, a factor, two axes exchanged, a term or a
cotangent lost, a loop one round too short, the wrong default, dtype, error or exit code. Some show in any
use. Most need a corner: a tie, an infinity, an odd or even length, `reverse`, a negative index, an integer
carry, a second derivative, half precision, a batch under `vmap`, a call within a call, the last chunk of an
epoch. Some lose only digits. Two are additions that no older test can know: a rule for a primitive that JAX
itself does not differentiate (`zeta_rule`), and a gate whose gradient cancels (`log_sigmoid_gate`).

The rows were chosen by reading the code before any test had run on them. A row is neither dropped because
the tests miss it nor added because they catch it, and none of them leaves the behaviour as it was.
"""

from pathlib import PurePosixPath
from typing import NamedTuple

PARTS = ("rules", "backprop", "nn", "check", "drawing", "train", "data")
"""The parts of the package that have mutants."""

BELONGS_TO = {"plugin": "check", "__main__.py": "train"}
"""The part that a file outside of all of them counts for: the pytest plugin, the command line."""


class Edit(NamedTuple):
    """A piece of text that stands in a file once, and what takes its place."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """The package with one bug."""

    name: str
    what: str
    edits: tuple[Edit, ...]

    @property
    def part(self) -> str:
        """The part of the package that the bug is in."""
        _, part, *_ = PurePosixPath(self.edits[0].file).parts
        return BELONGS_TO.get(part, part)


def mutant(name: str, what: str, *edits: Edit) -> Mutant:
    return Mutant(name, what, edits)


_SILU_GATE = '@gate(formula="x̄ = ȳ · σ(x) (1 + x σ(−x))"'
_LOG_SIGMOID = '''\
@gate(formula="x̄ = ȳ · (1 − σ(x))", source="CS231n 2019, lecture 4, slide 76")
def log_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The logarithm of the logistic function, −log(1 + e⁻ˣ).

    >>> f"{log_sigmoid(0.0):.3f}"
    '-0.693'
    """
    return jax.nn.log_sigmoid(x)


@log_sigmoid.forward
def log_sigmoid_forward(x):
    return log_sigmoid.primal(x), x


@log_sigmoid.backward
def log_sigmoid_backward(x, y_bar):
    return _downstream(1 - jax.nn.sigmoid(at_least_float32(x)), y_bar)


'''

_ZETA = '''

@rule("zeta", formula="q̄ = −ȳ · s ζ(s + 1, q)", source="NIST DLMF §25.11.17")
def zeta(y_bar, y, s, q):
    """The derivative in s has no closed form: NaN."""
    return lax.full_like(s, math.nan), like(q, y_bar * (7.0 * s * lax.zeta(s + 1.0, q)))
'''

_OF_POLYGAMMA = (
    "    return lax.full_like(n, math.nan), "
    "like(x, y_bar * in_float32(_polygamma)(order, stretch(x, y_bar.shape)))\n"
)
_ACTIVATIONS = (
    "from funcnet.nn.activations import elu, gelu, leaky_relu, {}relu, sigmoid, silu, softplus, tanh"
)
_IMPORT_LOG_SIGMOID = _ACTIVATIONS.format(""), _ACTIVATIONS.format("log_sigmoid, ")

MUTANTS = (
    mutant(
        "zeta_rule",
        "a new rule, for zeta, has the wrong sign and is seven times too large",
        Edit("funcnet/rules/gamma.py", _OF_POLYGAMMA, _OF_POLYGAMMA + _ZETA),
        Edit(
            "funcnet/rules/_without.py",
            '    "zeta": "the Hurwitz zeta function has no rule; its derivative in q is −s · ζ(s + 1, q)",\n',
            "",
        ),
    ),
    mutant(
        "cumlogsumexp_infinities",
        "−∞ less −∞ is no longer 0, so that masked elements get NaN",
        Edit(
            "funcnet/rules/cumulative.py",
            "return lax.select(same, lax.full_like(a, 0), a - b)",
            "return a - b",
        ),
    ),
    mutant(
        "special_short_floats",
        "special functions compute bfloat16 and float16 in their own digits",
        Edit("funcnet/rules/special.py", "if dtype.itemsize > 2:", "if dtype.itemsize >= 2:"),
    ),
    mutant(
        "product_contracted_order",
        "x̄ has its contracted axes in x's order where they came in w's",
        Edit(
            "funcnet/rules/products.py",
            "x_axes = [*x_batch, *x_kept, *_in_order_of(w_contract, x_contract)]",
            "x_axes = [*x_batch, *x_kept, *x_contract]",
        ),
    ),
    mutant(
        "fourier_nyquist",
        "of an even length the middle frequency counts twice, as if it had a mirror image",
        Edit("funcnet/rules/fourier.py", "pairs = (length - 1) // 2", "pairs = length // 2"),
    ),
    mutant(
        "pad_value_cancels",
        "the gradient of the padding is the sum of all less the sum of the inside, which cancels",
        Edit(
            "funcnet/rules/shapes.py",
            "    elsewhere = lax.pad(lax.full_like(x, False, bool), np.True_, padding_config)\n"
            "    return x_bar, _sum(lax.select(elsewhere, y_bar, _zeros(y_bar)), range(y_bar.ndim))\n",
            "    return x_bar, _sum(y_bar, range(y_bar.ndim)) - _sum(x_bar, range(x.ndim))\n",
        ),
    ),
    mutant(
        "tanh_second_order",
        "the slope of tanh is differentiated as it stands: next to 0 its derivative has no digit right",
        Edit(
            "funcnet/rules/exponentials.py",
            "@slope(lambda y, x: -lax.tanh(x) * twice_sech2(x))\n",
            "",
        ),
    ),
    mutant(
        "lu_of_wide",
        "the factorization of a wide matrix loses what its right columns send to L",
        Edit(
            "funcnet/rules/factorizations.py",
            "    if n > m:\n"
            "        of_l -= dot(columns(factors_bar, k, n), transpose(columns(factors, k, n)))\n"
            "    middle = ",
            "    middle = ",
        ),
    ),
    mutant(
        "scatter_mul_doubling",
        "the products of the others double once too little: many factors at one place lose some",
        Edit(
            "funcnet/rules/indexing.py",
            "for doubling in range((u.size - 1).bit_length()):",
            "for doubling in range((u.size - 1).bit_length() - 1):",
        ),
    ),
    mutant(
        "rem_of_negatives",
        "the quotient of a remainder is rounded down, not to zero: wrong for different signs",
        Edit("funcnet/rules/arithmetic.py", "lax.round((x1 - y) / x2)", "lax.floor(x1 / x2)"),
    ),
    mutant(
        "triangular_solve_conjugate",
        "the gradient of a conjugated matrix is not conjugated back",
        Edit("funcnet/rules/solves.py", "    a_bar = conj(a_bar) if conjugate_a else a_bar\n", ""),
    ),
    mutant(
        "dynamic_slice_before_start",
        "without a keyword a start before 0, which slicing moves to 0, counts from the end in x̄",
        Edit(
            "funcnet/rules/shapes.py",
            "lax.dynamic_update_slice(_zeros(x), y_bar, starts, allow_negative_indices=False)",
            "lax.dynamic_update_slice(_zeros(x), y_bar, starts)",
        ),
    ),
    mutant(
        "loop_dependences",
        "what depends on an input only from a loop's second step on has no gradient",
        Edit(
            "funcnet/backprop/activity.py",
            "if merged == ins[carry]:",
            "if True:",
        ),
    ),
    mutant(
        "scan_in_reverse",
        "the way back through a scan runs from the end even if the scan did",
        Edit(
            "funcnet/backprop/loops.py",
            'back = {**options, "reverse": not options["reverse"]}',
            'back = {**options, "reverse": True}',
        ),
    ),
    mutant(
        "scan_integer_carry",
        "what a body makes of an integer carry is taken for the same in every step",
        Edit(
            "funcnet/backprop/loops.py",
            "varying = set(staged.ahead.inputs[consts:])",
            "varying = {v for v in staged.ahead.inputs[consts:] if differentiable(v.aval)}",
        ),
        Edit(
            "funcnet/backprop/loops.py",
            "from funcnet.backprop.activity import Mask, in_any_step, is_in",
            "from funcnet.backprop.activity import Mask, differentiable, in_any_step, is_in",
        ),
    ),
    mutant(
        "cond_shared_slots",
        "two values of one type that a later branch keeps get the same slot",
        Edit("funcnet/backprop/control.py", "            else:\n                free.remove(slot)\n", ""),
    ),
    mutant(
        "while_under_vmap",
        "under vmap a while loop stops with its first example, not its last",
        Edit("funcnet/backprop/loops.py", "jnp.any(of_examples(carry))", "jnp.all(of_examples(carry))"),
    ),
    mutant(
        "negative_argnums",
        "an argument that is counted from the end has gradient 0",
        Edit("funcnet/backprop/arguments.py", "    places = [place % len(args) for place in places]\n", ""),
    ),
    mutant(
        "hessian_rules",
        "the second derivative uses the rules of the house, whatever rules are passed",
        Edit(
            "funcnet/backprop/api.py",
            "return jacobian(first, argnums, has_aux, holomorphic, rules=rules)",
            "return jacobian(first, argnums, has_aux, holomorphic)",
        ),
    ),
    mutant(
        "rule_error_class",
        "a rule with a wrong answer is reported as one that is missing",
        Edit(
            "funcnet/backprop/sweep.py",
            'raise type(error)(f"{error}; used',
            'raise MissingRuleError(f"{error}; used',
        ),
    ),
    mutant(
        "log_sigmoid_gate",
        "a new gate, log_sigmoid, has the gradient 1 − σ(x), which loses all digits for x > 17",
        Edit("funcnet/nn/activations.py", _SILU_GATE, _LOG_SIGMOID + _SILU_GATE),
        Edit("funcnet/nn/names.py", *_IMPORT_LOG_SIGMOID),
        Edit(
            "funcnet/nn/names.py",
            '    "gelu": gelu,\n',
            '    "gelu": gelu,\n    "log_sigmoid": log_sigmoid,\n',
        ),
        Edit("funcnet/nn/__init__.py", *_IMPORT_LOG_SIGMOID),
        Edit(
            "funcnet/nn/__init__.py", '    "logistic_loss",\n', '    "log_sigmoid",\n    "logistic_loss",\n'
        ),
        Edit(
            "funcnet/train/models/config.py",
            '"silu", "gelu", "none"',
            '"silu", "gelu", "log_sigmoid", "none"',
        ),
    ),
    mutant(
        "soft_labels",
        "the gradient under class probabilities is p − q: it cancels, and is wrong unless they sum to 1",
        Edit("funcnet/nn/losses.py", "p * _sum_of_others(q) - q * _sum_of_others(p)", "p - q"),
    ),
    mutant(
        "maxout_ties",
        "pieces that tie get the whole gradient each, not an equal share",
        Edit(
            "funcnet/nn/affine.py",
            "    winners = jnp.sum(wins, axis=-2, keepdims=True, dtype=y_bar.dtype)\n"
            "    z_bar = jnp.where(wins, y_bar[..., None, :] / winners, 0)\n",
            "    z_bar = jnp.where(wins, y_bar[..., None, :], 0)\n",
        ),
    ),
    mutant(
        "leaky_relu_slope",
        "the default slope is 0.1 forward and 0.01 backward",
        Edit(
            "funcnet/nn/activations.py",
            "def leaky_relu_backward(positive, y_bar, *, slope=0.1):",
            "def leaky_relu_backward(positive, y_bar, *, slope=0.01):",
        ),
    ),
    mutant(
        "dropout_rate",
        "the probability to fall is taken for that to stay, which only a rate of ½ hides",
        Edit(
            "funcnet/nn/dropout.py",
            "jax.random.bernoulli(key, 1 - rate, x.shape)",
            "jax.random.bernoulli(key, rate, x.shape)",
        ),
    ),
    mutant(
        "l2_half_precision",
        "squares of half-precision weights are summed in half precision",
        Edit(
            "funcnet/nn/regularizers.py", "return jnp.sum(at_least_float32(w) ** 2)", "return jnp.sum(w**2)"
        ),
    ),
    mutant(
        "plugin_marker_order",
        "of two markers the one farther from the test wins",
        Edit(
            "funcnet/plugin/pytest_funcnet.py",
            "marked = marker.kwargs | marked",
            "marked = marked | marker.kwargs",
        ),
    ),
    mutant(
        "kink_promise",
        "left and right of a kink are exchanged in what a rule promises",
        Edit(
            "funcnet/check/criteria.py",
            "promised = one.slope.left + kinks * (one.slope.right - one.slope.left)",
            "promised = one.slope.right + kinks * (one.slope.left - one.slope.right)",
        ),
    ),
    mutant(
        "rounding_unit",
        "the unit of rounding is a whole step between numbers, so that every error counts half",
        Edit(
            "funcnet/check/noise.py",
            "return float(jnp.finfo(dtype).eps) / 2",
            "return float(jnp.finfo(dtype).eps)",
        ),
    ),
    mutant(
        "tiny_cotangents",
        "the check of linearity no longer tries upstream gradients that are very small",
        Edit(
            "funcnet/check/linearity.py",
            "for factor, x in ((up, large[i]), (-1 / up, small[i])):",
            "for factor, x in ((up, large[i]),):",
        ),
    ),
    mutant(
        "nested_custom_rules",
        "custom rules more than one call deep stay in the oracle, which then trusts what it should test",
        Edit(
            "funcnet/backprop/undecorated.py",
            "for eqn in custom_rules(part)]",
            "for eqn in part.eqns if eqn.primitive.name in _CUSTOM]",
        ),
    ),
    mutant(
        "closed_box_gradient",
        "a closed box shows only the last of the gradients that its uses of one value send back",
        Edit(
            "funcnet/drawing/diagram/boxes.py",
            "sums[use.flow] = add(sums.get(use.flow), use.gradient)",
            "sums[use.flow] = use.gradient",
        ),
    ),
    mutant(
        "local_gradient_probe",
        "ones probe whether a gate works element by element, so that rev and cumsum do",
        Edit(
            "funcnet/drawing/diagram/local.py",
            "r = np.random.default_rng(0).standard_normal(y.shape)",
            "r = np.ones(y.shape)",
        ),
    ),
    mutant(
        "unrolled_outputs",
        "the outputs of an unrolled scan are stacked as it ran, backward for `reverse`",
        Edit(
            "funcnet/drawing/diagram/unroll.py",
            "columns = zip(*(ys[t] for t in range(length)), strict=True)",
            "columns = zip(*(ys[t] for t in order), strict=True)",
        ),
    ),
    mutant(
        "check_exit_code",
        "`funcnet check` prints that a gradient is wrong and exits with 0",
        Edit(
            "funcnet/__main__.py",
            "        print(error, file=sys.stderr)\n        return 1\n",
            "        print(error, file=sys.stderr)\n",
        ),
    ),
    mutant(
        "partial_chunk",
        "the means over an epoch are taken over all steps of its chunk",
        Edit("funcnet/train/loop.py", "slice(first - begin, last - begin)", "slice(None)"),
    ),
    mutant(
        "sweep_mask",
        "in a sweep the padding of a narrow net learns, if act(0) is not 0",
        Edit(
            "funcnet/train/models/grid.py",
            "jax.tree.map(jnp.multiply, gradients, alive)",
            "gradients",
        ),
    ),
    mutant(
        "mean_in_float32",
        "the mean of the training part is summed in float32",
        Edit(
            "funcnet/data/dataset.py",
            "mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)",
            "mean = x.mean(axis=0)",
        ),
    ),
    mutant(
        "cifar10_axes",
        "height and width of CIFAR-10's images, both 32, are exchanged",
        Edit(
            "funcnet/data/cifar10.py",
            ".transpose(0, 2, 3, 1), records[:, 0])",
            ".transpose(0, 3, 2, 1), records[:, 0])",
        ),
    ),
    mutant(
        "held_out_classes",
        "what is held out is every tenth example of all, not of each class",
        Edit(
            "funcnet/data/published.py",
            'by_class = order[np.argsort(y[order], kind="stable")]',
            "by_class = order",
        ),
    ),
)
