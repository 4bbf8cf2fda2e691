"""Sequences to be remembered: what Graves, Wayne and Danihelka 2014, §4.1 to 4.3, say of them."""

import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet._errors import ParameterError
from funcnet.data import procedural

KEY = jax.random.key(231)


@functools.cache
def drawn(name, number=200):
    """Many episodes with the paper's ranges, as NumPy arrays."""
    draw = procedural.PROCEDURAL[name]
    return [
        jax.tree.map(lambda leaf, i=i: leaf[i], episodes)
        for episodes in [jax.tree.map(np.asarray, jax.vmap(draw)(jax.random.split(KEY, number)))]
        for i in range(number)
    ]


def parts(episode):
    """Inputs, targets and which count, to the end of the sequence."""
    n = int(episode.length)
    return episode.inputs[:n], episode.targets[:n], episode.counts[:n]


def test_copy():
    """§4.1: random vectors, a delimiter, and the target is a copy without it; no inputs then."""
    for episode in drawn("copy"):
        x, y, counts = parts(episode)
        (length,) = np.flatnonzero(x[:, 8])
        assert 1 <= length <= 20
        assert len(x) == 2 * length + 1
        assert not x[length, :8].any()
        assert not x[length + 1 :].any()
        assert counts.tolist() == [False] * (length + 1) + [True] * length
        np.testing.assert_array_equal(y[counts], x[:length, :8])


def test_repeat_copy():
    """§4.2: the number of copies, of mean 0 and variance 1, in a channel of its own; a marker at the end."""
    numbers = []
    for episode in drawn("repeat_copy"):
        x, y, counts = parts(episode)
        (length,) = np.flatnonzero(x[:, 8])
        repeats = round(float(x[length, 8] * np.std(np.arange(1, 11)) + 5.5))
        numbers.append(repeats)
        assert 1 <= length <= 10
        assert not x[length + 1 :].any()
        assert counts.tolist() == [False] * (length + 1) + [True] * (length * repeats + 1)
        np.testing.assert_array_equal(y[counts][:-1, :8], np.tile(x[:length, :8], (repeats, 1)))
        assert np.flatnonzero(y[:, 8]).tolist() == [len(x) - 1]
        assert not y[-1, :8].any()
    assert set(numbers) == set(range(1, 11))


def test_associative_recall():
    """§4.3: two to six items of three 6-bit vectors; one is shown again, the next one is the target."""
    asked = []
    for episode in drawn("associative_recall"):
        x, y, counts = parts(episode)
        starts, around = np.flatnonzero(x[:, 6]), np.flatnonzero(x[:, 7])
        items = len(starts)
        assert starts.tolist() == [4 * i for i in range(items)]
        assert around.tolist() == [4 * items, 4 * items + 4]
        assert not x[4 * items + 5 :].any()
        assert np.flatnonzero(counts).tolist() == [4 * items + 5 + i for i in range(3)]
        assert len(x) == 4 * items + 8
        shown = [x[start + 1 : start + 4, :6] for start in starts]
        query = x[4 * items + 1 : 4 * items + 4, :6]
        (number, *_) = (i for i, item in enumerate(shown[:-1]) if np.array_equal(item, query))
        np.testing.assert_array_equal(y[counts], shown[number + 1])
        asked.append((items, number))
    assert {items for items, _ in asked} == {2, 3, 4, 5, 6}
    assert {number for items, number in asked if items == 6} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", procedural.PROCEDURAL)
def test_after_the_sequence_all_is_0(name):
    for episode in drawn(name):
        n = int(episode.length)
        assert not any(array[n:].any() for array in (episode.inputs, episode.targets, episode.counts))
        assert not episode.targets[~episode.counts].any()
    longest = max(int(episode.length) for episode in drawn(name))
    assert longest <= len(drawn(name)[0].inputs)


@pytest.mark.parametrize("name", procedural.PROCEDURAL)
def test_a_key_makes_one_sequence(name):
    draw = procedural.PROCEDURAL[name]
    first, again, other = (draw(jax.random.key(seed)) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first.inputs, other.inputs)


def test_lengths_are_uniform_and_bits_fair():
    lengths = Counter(int(episode.length) // 2 for episode in drawn("copy", 2000))
    assert set(lengths) == set(range(1, 21))
    assert max(abs(count - 100) for count in lengths.values()) < 50  # five deviations of √(2000 · .05 · .95)
    bits = np.concatenate([episode.targets[episode.counts].ravel() for episode in drawn("copy", 2000)])
    assert abs(bits.mean() - 0.5) < 5 * 0.5 / np.sqrt(bits.size)


def test_ranges_and_sizes_can_be_chosen():
    assert procedural.copy(KEY, (40, 40)).inputs.shape == (81, 9)
    episode = procedural.repeat_copy(KEY, (2, 3), (20, 20), bits=5)
    assert float(jnp.max(episode.inputs[:, 5])) == pytest.approx(14.5 / 8.25**0.5)  # in the units of 1 to 10
    episode = procedural.associative_recall(KEY, (15, 15), vectors=2, bits=4)
    assert (episode.inputs.shape, episode.targets.shape) == ((51, 6), (51, 4))
    assert int(episode.length) == 51


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("copy", {"lengths": (0, 3)}, "copy: lengths 0 to 3.*begins at 1"),
        ("copy", {"lengths": (5, 3)}, "lengths 5 to 3"),
        ("copy", {"bits": 0}, "0 bits"),
        ("repeat_copy", {"repeats": (0, 2)}, "repeat_copy: repeats 0 to 2"),
        ("associative_recall", {"items": (1, 6)}, "items 1 to 6.*begins at 2"),
        ("associative_recall", {"vectors": 0}, "0 vectors"),
    ],
)
def test_what_is_no_range(name, given, words):
    with pytest.raises(ParameterError, match=words):
        procedural.PROCEDURAL[name](KEY, **given)
