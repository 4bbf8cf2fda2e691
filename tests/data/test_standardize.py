"""standardize: fitted on the training part alone, one scale for the pixels of an image."""

from dataclasses import replace

import numpy as np
import pytest

from funcnet import data

ROWS = np.random.default_rng(2).normal([5, -3, 1e4], [1, 10, 1e-1], (500, 3)).astype(np.float32)


def dataset_of(x, image_shape=None):
    parts = [data.Split(rows, np.zeros(len(rows), np.int32)) for rows in (x, x[:7], x[:9])]
    return data.Dataset("rows", *parts, classes=("0", "1"), image_shape=image_shape)


def test_features_have_mean_0_and_std_1_each():
    standard, _ = data.standardize(dataset_of(ROWS))
    np.testing.assert_allclose(
        standard.train.x.mean(axis=0, dtype=np.float64), 0, atol=5e-3
    )  # 1e4 ± 0.1 in float32
    np.testing.assert_allclose(standard.train.x.std(axis=0, dtype=np.float64), 1, rtol=1e-5)


def test_images_lose_the_mean_image_and_keep_their_contrasts():
    images, standardization = data.standardize(dataset_of(ROWS[:, :2], image_shape=(1, 2)))
    np.testing.assert_allclose(images.train.x.mean(axis=0, dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(images.train.x.std(dtype=np.float64), 1, rtol=1e-5)
    assert standardization.std[0] == standardization.std[1]
    ratio = ROWS[:, 1].std() / ROWS[:, 0].std()
    assert images.train.x[:, 1].std() / images.train.x[:, 0].std() == pytest.approx(ratio, rel=1e-5)


@pytest.mark.parametrize("constant", [0, 0.1, 16777217, 1e30])
@pytest.mark.parametrize("image_shape", [None, (1, 3)])
def test_constant_features_become_exactly_0(constant, image_shape):
    x = np.full((300, 3), constant, np.float32)
    standard, standardization = data.standardize(dataset_of(x, image_shape))
    assert not standard.train.x.any()
    assert standardization.std.tolist() == [1, 1, 1]


def test_only_the_training_part_is_looked_at():
    dataset = dataset_of(ROWS)
    moved = replace(
        dataset,
        validation=dataset.validation._replace(x=dataset.validation.x + 100),
        test=dataset.test._replace(x=dataset.test.x * 100),
    )
    for ours, theirs in zip(data.standardize(dataset)[1], data.standardize(moved)[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_map_is_the_one_that_was_applied():
    dataset = data.load("digits")
    standard, standardization = data.standardize(dataset)
    np.testing.assert_array_equal(standardization.apply(dataset.test.x), standard.test.x, strict=True)
    np.testing.assert_allclose(
        standard.test.x * standardization.std + standardization.mean, dataset.test.x, atol=1e-6
    )
    assert standard.train.y is dataset.train.y
    assert dataset.train.x.max() == 1  # the original is left alone
