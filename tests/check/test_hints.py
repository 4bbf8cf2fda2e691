"""The guesses: each transformation of a right gradient, done here, is recognized for what it is."""

import ml_dtypes
import numpy as np
import pytest

from funcnet.check.hints import hint
from funcnet.check.noise import compare

rng = np.random.default_rng(7)
VECTOR, MATRIX, SQUARE = rng.normal(size=6), rng.normal(size=(3, 4)), rng.normal(size=(4, 4))
OTHER = rng.normal(size=6)


def guess(found, truth, *others, **known):
    return hint(compare(found, truth, 0.0, "float64", 1.0, 1e-9), *others, **known)


def changed(x, places, factor=3.0):
    x = x.copy()
    x[places] *= factor
    return x


ROWS = [
    ("zero", 0 * VECTOR, VECTOR, "all zero: the argument is left out of the rule"),
    ("NaN", VECTOR * np.array([1, np.nan, 1, 1, np.inf, 1]), VECTOR, "2 of 6 elements are not finite"),
    ("sign", -VECTOR, VECTOR, "the sign: the rule is −1 × the truth"),
    ("factor", 1.003 * MATRIX, MATRIX, "a factor: the rule is 1.003 × the truth"),
    ("factor of a complex gradient", 2 * (SQUARE + 1j), SQUARE + 1j, "a factor: the rule is 2 × the truth"),
    ("mean over all", MATRIX / 12, MATRIX, "a factor 1/12: a mean over 12 where a sum belongs"),
    ("mean over an axis", MATRIX / 3, MATRIX, "a factor 1/3: a mean over 3 where a sum belongs"),
    ("sum over all", 6 * VECTOR, VECTOR, "a factor 6: a sum over 6 where a mean belongs"),
    ("one element", changed(VECTOR, 4), VECTOR, "one element only, [4]: an index or a boundary"),
    (
        "one element of a matrix is 0",
        changed(MATRIX, (1, 2), 0.0),
        MATRIX,
        "one element only, [1, 2]: it is 0",
    ),
    ("swapped", OTHER, VECTOR, "the gradient of another argument"),
    ("transposed", SQUARE.T, SQUARE, "transposed: its last two axes are exchanged"),
    ("reshaped", MATRIX.T.reshape(3, 4), MATRIX, "transposed: a reshape where a transpose belongs"),
    ("reversed", MATRIX[:, ::-1], MATRIX, "reversed along axis 1"),
    ("rolled forth", np.roll(MATRIX, 1, 0), MATRIX, "rolled by 1 along axis 0"),
    ("rolled back", np.roll(VECTOR, -1), VECTOR, "rolled by -1 along axis 0"),
    ("rolled through all", np.roll(MATRIX.ravel(), 1).reshape(3, 4), MATRIX, "rolled by 1 over all elements"),
    (
        "of a symmetric argument",
        SQUARE + np.triu(SQUARE, 1) - np.triu(SQUARE, 1).T,
        SQUARE,
        "its symmetric part is right: a rule for symmetric arguments",
    ),
    (
        "beside an infinite slope",
        np.array([0.0, 14, 21]),
        np.array([np.inf, 2, 3]),
        "the rule is 7 × the truth",
    ),
    ("permuted", VECTOR[[0, 3, 2, 5, 1, 4]], VECTOR, "the right numbers in wrong places: a permutation"),
    ("absolute", np.abs(VECTOR), VECTOR, "an absolute value too many"),
    ("mean of all", np.full_like(VECTOR, VECTOR.mean()), VECTOR, "every element is the mean of the truth"),
    ("bias", VECTOR + 0.25, VECTOR, "the truth plus 0.25: a constant added"),
    (
        "through float16",
        VECTOR.astype("float16").astype(float),
        VECTOR,
        "a float16 number: rounded on the way",
    ),
    (
        "through bfloat16",
        VECTOR.astype(ml_dtypes.bfloat16).astype(float),
        VECTOR,
        "a bfloat16 number: rounded",
    ),
    (
        "through float32",
        VECTOR.astype("float32").astype(float),
        VECTOR,
        "a float32 number: rounded on the way",
    ),
    ("missing sum", MATRIX, np.broadcast_to(MATRIX.sum(0), (3, 4)), "a sum over axis 0 is missing"),
    (
        "missing mean",
        MATRIX,
        np.broadcast_to(MATRIX.mean(1, keepdims=True), (3, 4)),
        "a mean over axis 1 is missing",
    ),
    (
        "a sum too many",
        np.broadcast_to(MATRIX.sum(1, keepdims=True), (3, 4)),
        MATRIX,
        "a sum over axis 1 is too many",
    ),
    ("clipped", np.clip(VECTOR, -0.5, 0.5), VECTOR, "right where it is small: clipped, or cut off"),
    ("a mask", changed(VECTOR, [0, 3]), VECTOR, "2 of 6 elements are wrong and the others right"),
    (
        "an axis of one element has no sum",
        (1 + 1e-8 * VECTOR)[None, :] * VECTOR,
        VECTOR[None, :],
        "a relative error below 1e-6: an ε that it leaves out, a constant with few digits",
    ),
    (
        "twice where there is one, and some where there is none",
        VECTOR + np.where(VECTOR > 0, VECTOR, 1.0),
        np.where(VECTOR > 0, VECTOR, 0.0),
        "no pattern that is known",
    ),
    (
        "a large error of a small element, and small ones of all others",
        VECTOR * (1 + np.array([0, 0, 1e-4, 0, 0, 0]) + 1e-8),
        VECTOR,
        "no pattern that is known",
    ),
    ("where there is none", VECTOR, 0 * VECTOR, "the truth is 0: the function does not depend on this"),
    ("no pattern", VECTOR**3 + np.arange(6), VECTOR, "no pattern that is known"),
]


@pytest.mark.parametrize(("found", "truth", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_mistake_is_recognized(found, truth, words):
    assert words in guess(found, truth, [(OTHER, "the gradient of another argument")])


def test_numbers_of_a_dtype_are_not_said_to_be_rounded_to_it():
    short = (VECTOR * (1 + 1e-3 * OTHER)).astype("float32")
    assert guess(short, VECTOR, dtype="float32", unknown="none") == "none"


@pytest.mark.parametrize("scale", [1e-200, 1e-9, 1e9, 1e200])
@pytest.mark.parametrize(
    "name", ["factor", "transposed", "one element", "rolled forth", "missing sum", "clipped"]
)
def test_at_any_size_of_the_gradient(name, scale):
    found, truth, words = next(row[1:] for row in ROWS if row[0] == name)
    assert words in guess(scale * found, scale * truth)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (1, 1)])
def test_small_gradients_have_hints_too(shape):
    assert guess(np.full(shape, 3.0), np.full(shape, 2.0))
    assert guess(np.zeros(shape), np.full(shape, 2.0))
    assert guess(np.full(shape, 2.0), np.zeros(shape))
