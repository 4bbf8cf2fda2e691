"""Batches by step: every example once an epoch, the same whoever asks, of every kind of source."""

import re
from collections import UserDict, UserList

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnet._errors import ParameterError, ShapeError
from funcnet.train import advance, from_source, in_memory, init, procedural
from funcnet.train.batches import orders

pytestmark = pytest.mark.in_turns(2)

X = np.arange(300, dtype=np.float32).reshape(300, 1)
Y = np.arange(300)
OF_1 = optax.sgd(0.5)
"""A step leads to the mean of a batch, by squares."""


class Squares:
    """A source that makes an example when it is asked."""

    def __len__(self):
        return 300

    def __getitem__(self, i):
        if not 0 <= i < 300:
            raise IndexError(i)
        return {"x": X[i], "y": np.int32(i)}


@pytest.mark.parametrize(
    ("examples", "size", "steps", "seen"), [(300, 50, 6, 300), (300, 64, 4, 256), (30, 64, 1, 30)]
)
@pytest.mark.parametrize("make", [in_memory, from_source])
def test_an_epoch_sees_every_example_at_most_once(make, examples, size, steps, seen):
    batches = make((X[:examples], Y[:examples]), size)
    assert batches.per_epoch == steps
    for e in range(2):
        rows = np.concatenate([batches(e * steps + s)[1] for s in range(steps)])
        assert len({*rows.tolist()}) == len(rows) == seen
        assert {*rows.tolist()} <= {*range(examples)}


def test_an_order_follows_from_seed_and_epoch():
    key = jax.random.key(0)
    fourth, fifth = orders(key, 300, 4, 2)
    np.testing.assert_array_equal(fourth, orders(key, 300, 4, 1)[0])
    for other in (fifth, orders(jax.random.key(1), 300, 4, 1)[0]):
        assert not np.array_equal(fourth, other)


@pytest.mark.parametrize("step", [0, 3, 11])
def test_memory_and_source_give_the_same_batch(step, tmp_path):
    """Out of numpy arrays, of a memory map, and of examples made one by one."""
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    expected = in_memory({"x": X, "y": Y}, 64)(step, seed=5)
    for source in ({"x": X, "y": Y}, Squares(), {"x": mapped, "y": Y}):
        batch = from_source(source, 64)(step, seed=5)
        jax.tree.map(np.testing.assert_array_equal, batch, expected)


@pytest.mark.parametrize("make", [in_memory, from_source])
def test_steps_loaded_together_are_those_loaded_alone(make):
    batches = make((X, Y), 50)
    for start, steps in ((0, 6), (4, 5)):  # within an epoch, and across its end
        data = batches.load(3, start, steps)
        for step in range(start, start + steps):
            batch = batches.take(data, jax.random.key(3), step)
            jax.tree.map(np.testing.assert_array_equal, batch, batches(step, seed=3))


def test_a_batch_within_jit_is_the_one_outside():
    batches = in_memory((X, Y), 50)
    inside = jax.jit(lambda shift: batches(2)[1] + shift)(0)
    np.testing.assert_array_equal(inside, batches(2)[1])


@pytest.mark.parametrize(
    ("examples", "stops", "by_epoch", "later"),
    [
        (40, [96, 192, 200], [8, 16, 24], 192),  # 8 steps in an epoch, twelve epochs at once
        (300, [60, 120, 180], [60, 120, 180], 180),
        (1250, [84, 168, 200], [84, 168, 200], 200),  # 250 steps in three parts
    ],
)
def test_short_epochs_are_loaded_together_unless_each_is_asked_for(examples, stops, by_epoch, later):
    batches = in_memory(np.arange(examples), 5)
    assert [stop for _, stop in batches.spans(0, 200, by_epoch=False)][:3] == stops
    assert [stop for _, stop in batches.spans(0, 200, by_epoch=True)][:3] == by_epoch
    assert next(batches.spans(170, 200, by_epoch=False)) == (170, later)  # of a run that goes on


def test_orders_of_many_examples_are_not_made_for_many_epochs():
    assert [in_memory(np.zeros(n, np.uint8), n).turns for n in (100, 2**18, 2**21)] == [100, 4, 1]


def test_what_is_read_at_once_is_bounded():
    """64 MiB: of batches of 32 MiB two steps, of larger ones a step at a time."""
    row = np.zeros((1, 2**20), np.float32)
    wide = np.lib.stride_tricks.as_strided(row, (64, 2**20), (0, 4))
    assert [from_source(wide, size).turns for size in (8, 4, 32)] == [2, 4, 1]


def test_procedural_batches_follow_from_seed_and_step():
    batches = procedural(lambda key: jax.random.normal(key, (4,)))
    np.testing.assert_array_equal(batches(3), batches(jnp.int32(3)))
    for other in (batches(4), batches(3, seed=1)):
        assert not np.array_equal(batches(3), other)


KINDS = {
    "memory": lambda shift: in_memory((X + shift, Y), 64),
    "source": lambda shift: from_source((X + shift, Y), 64),
    "procedural": lambda shift: procedural(lambda key: jax.random.normal(key, (4,)) + shift),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_description_tells_data_of_the_same_shape_apart(kind):
    assert KINDS[kind](0).describe() == KINDS[kind](0).describe() != KINDS[kind](1).describe()


@pytest.mark.parametrize("make", [in_memory, from_source])
@pytest.mark.parametrize(
    ("arrays", "size", "error", "words"),
    [
        ((X, Y[:3]), 4, ShapeError, r"of shapes {'0': \(300, 1\), '1': \(3,\)}; expected one leading axis"),
        (np.zeros((0, 3)), 4, ShapeError, "there are no examples"),
        (X, 0, ParameterError, "the batch size is 0; expected 1 or more"),
    ],
)
def test_refused(make, arrays, size, error, words):
    with pytest.raises(error, match=words):
        make(arrays, size)


def test_a_list_is_one_of_examples():
    """Though a pytree too, as a tuple of arrays is."""
    images = [np.full((4, 4), i, np.float32) for i in range(10)]
    batch = from_source(images, 5)(0)
    assert batch.shape == (5, 4, 4)


def test_arrays_of_any_library_are_read_as_numpy_s():
    for batch, same in zip(from_source((jnp.asarray(X), Y), 64)(0), from_source((X, Y), 64)(0), strict=True):
        np.testing.assert_array_equal(batch, same)


class ReadTogether:
    """Rows as Hugging Face has them, lists of Python's numbers, read as PyTorch's loader reads them."""

    asked = 0

    def __len__(self):
        return 300

    def __getitem__(self, i):
        return self.__getitems__([i])[0]

    def __getitems__(self, rows):
        self.asked += 1
        return [{"x": X[i].tolist(), "y": i} for i in rows]


def test_rows_of_lists_that_are_read_together():
    source = ReadTogether()
    batches = from_source(source, 64)
    asked = source.asked
    jax.tree.map(np.testing.assert_array_equal, batches(3), in_memory({"x": X, "y": Y}, 64)(3))
    assert source.asked == asked + 1


def test_a_pair_is_no_row():
    """A list of an array and a label is two parts of an example."""
    x, y = from_source([[X[i], i] for i in range(10)], 5)(0)
    assert x.shape == (5, 1)
    assert y.shape == (5,)


class Endless(Squares):
    def __len__(self):
        return 2**63 - 1


class InFile(UserDict):
    """As h5py's File, numpy's NpzFile and a DatasetDict are: no dictionary."""


class Frame(UserList):
    """As pandas' and polars' are."""

    to_numpy = None


SOURCES = [
    (
        iter([{"x": X[0]}]),
        ParameterError,
        r"got a list_iterator; expected examples by number.* Of a loader .* resumed",
    ),
    (Endless(), ParameterError, "9223372036854775807 examples, as of a source without an end; .* Repeating"),
    (
        [{"x": X[0]}, {"x": X[:2]}],
        ShapeError,
        r"examples differ in shape .*; expected single examples.* pad what differs",
    ),
    ([{"x": X[0]}, {"y": X[0]}], ShapeError, "examples differ in shape or structure"),
    (InFile({"x": X}), ParameterError, r"got an InFile, which has x by name; expected .* dict\(…\) of it"),
    (Frame([X[0]]), ParameterError, r"got a Frame, which is no array of examples; .* Take to_numpy\(\) of"),
]


@pytest.mark.parametrize(
    ("source", "error", "words"),
    SOURCES,
    ids=["iterator", "endless", "shape", "names", "file", "table"],
)
def test_a_source_that_is_none(source, error, words):
    with pytest.raises(error, match=words):
        from_source(source, 2)


def of_number(k):
    return X[k * 2 :]


def generator(key):
    yield X


class OfRows:
    """Of a shape and a dtype, and no array."""

    shape, dtype = (300,), np.dtype(np.float32)


class Sparse(OfRows):
    """As SciPy's matrices are."""

    def __array__(self, dtype=None, copy=None):
        raise ValueError


NO_BATCHES = [
    (lambda: procedural(lambda: X), ParameterError, r"takes \(\); expected a random key"),
    (
        lambda: procedural(lambda step: X),
        ParameterError,
        r"takes \(step\); expected a random key, and a step",
    ),
    (lambda: procedural(generator), ParameterError, "a generator's batches cannot be read again"),
    (
        lambda: in_memory((X, np.full(300, "cat")), 4),
        ParameterError,
        r"'1' are of type <U3; .* Number classes",
    ),
    (
        lambda: from_source(["a.png", "b.png"], 2),
        ParameterError,
        r"of type <U5; expected numbers.* read files and data sets by from_source",
    ),
    (lambda: in_memory(X.tolist(), 4), ShapeError, r"and 296 more; .* A list is no array.* numpy\.asarray"),
    (
        lambda: in_memory((X, OfRows()), 4),
        ParameterError,
        "got arrays of type ndarray, OfRows; expected what JAX makes arrays of. Take numpy.asarray of each",
    ),
    (lambda: in_memory(Frame([X[0]]), 4), ParameterError, r"got a Frame, .* expected arrays of its rows"),
    (lambda: in_memory(Sparse(), 4), ParameterError, "arrays of type Sparse; .* or from_source for what has"),
    (lambda: in_memory(np.array(["cat"]), 4), ParameterError, "the data are of type <U3; expected numbers"),
    (
        lambda: in_memory(X, 4.0),
        ParameterError,
        r"the batch size is 4\.0; expected 1 or more, a whole number",
    ),
    (
        lambda: procedural(lambda key: np.random.default_rng().normal(size=3)).describe(),
        ParameterError,
        "made two others of one key; expected a pure one",
    ),
]


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("make", "error", "words"), NO_BATCHES)
def test_what_makes_no_batches(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_batches_of_a_curriculum_know_their_step():
    batches = procedural(lambda key, step: jnp.minimum(jax.random.uniform(key, (4,)) * 9, step))
    assert [float(batches(step).max()) for step in (0, 1, 2)] == [0, 1, 2]
    (params, _, step), metrics = advance(lambda w, x: jnp.mean((w - x) ** 2), OF_1, batches)(
        init(0.0, OF_1), 3
    )
    assert (int(step), float(metrics["loss"][0]), params.item()) == (3, 0, batches(2).mean().item())


def test_a_source_that_grows_is_told():
    source = [X[0]] * 20
    batches = from_source(source, 4)
    source.append(X[1])
    with pytest.raises(ParameterError, match=r"has 21 examples now, and had 20; .* as a replay buffer, is"):
        batches(0)


def test_a_file_of_arrays_is_no_pytree(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=X)
    with np.load(tmp_path / "a.npz") as file:
        with pytest.raises(ParameterError, match="in_memory: got a NpzFile, which has x, y by name"):
            in_memory(file, 4)
        assert set(in_memory(dict(file), 4)(0)) == {"x", "y"}


class Chunked:
    """An array in a file, as h5py's: rows in rising order alone."""

    shape, dtype, chunks = X.shape, X.dtype, (7, 1)

    def __getitem__(self, rows):
        assert (np.diff(rows) > 0).all()
        return X[rows]


@pytest.mark.parametrize("source", [Chunked(), (Chunked(), X)], ids=["alone", "beside one in memory"])
def test_arrays_in_files_give_the_rows_of_those_in_memory(source):
    like = jax.tree.map(lambda _: X, source)
    for step in (0, 9):
        jax.tree.map(np.testing.assert_array_equal, from_source(source, 8)(step), in_memory(like, 8)(step))


class Missing(Squares):
    def __getitem__(self, i):
        raise FileNotFoundError("7.png")


@pytest.mark.parametrize(
    ("make", "error", "note"),
    [
        (lambda: procedural(of_number)(0), TypeError, "a random key, and the number of a step as `step`"),
        (
            lambda: jax.jit(procedural(lambda key: X[jax.random.randint(key, (4,), 0, 300)]))(0),
            jax.errors.TracerArrayConversionError,
            r"It is traced, .* take jax\.numpy\.asarray\(array\)\[rows\], or from_source",
        ),
        (lambda: from_source(Missing(), 4), FileNotFoundError, r"from_source: this came of \[0\]"),
    ],
    ids=["function", "numpy", "source"],
)
def test_an_error_of_the_user_s_own_says_where_it_came_of(make, error, note):
    with pytest.raises(error) as raised:
        make()
    assert re.search(note, "".join(raised.value.__notes__))


def test_a_source_is_not_read_within_jit():
    batches = from_source(Squares(), 4)
    with pytest.raises(
        ParameterError, match=r"cannot be read from within jit or vmap; .* Call advance outside"
    ):
        jax.jit(batches)(0)
