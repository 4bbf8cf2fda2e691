"""dm-pix: image transformations and similarities, in images and in how they are transformed."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.peers.rows import Row, as_default, check, parametrize

pix = pytest.importorskip("dm_pix")

rng = np.random.default_rng(13)
IMAGE = rng.uniform(0.1, 0.9, (8, 8, 3))
OTHER = rng.uniform(0.1, 0.9, (8, 8, 3))


def weighted(y):
    return jnp.mean(jnp.sin(y) * jnp.linspace(0.5, 1.5, y.size).reshape(y.shape))


def of(function, *more, **how):
    return lambda image: weighted(function(image, *more, **how))


def similar(measure, **how):
    return lambda image: jnp.sum(measure(image, as_default(OTHER), **how))


def turned(p):
    return weighted(pix.rotate(p["image"], p["angle"], order=1, mode="constant"))


def bent(p):
    at = jnp.stack([p["at"], p["at"] + 0.3, jnp.ones(3)])
    return weighted(pix.flat_nd_linear_interpolate_constant(p["image"], at, cval=0.0))


ROWS = [
    Row(
        "adjust_gamma",
        lambda p: weighted(pix.adjust_gamma(p["image"], p["gamma"])),
        {"image": IMAGE, "gamma": 1.3},
    ),
    Row("adjust_hue", of(pix.adjust_hue, 0.2), IMAGE),
    Row("adjust_saturation", of(pix.adjust_saturation, 1.2), IMAGE),
    Row("rgb_to_hsl and back", lambda image: weighted(pix.hsl_to_rgb(pix.rgb_to_hsl(image) * 0.9)), IMAGE),
    Row("rotate, in the angle too", turned, {"image": IMAGE, "angle": 0.3}),
    Row("interpolation, in the places too", bent, {"image": IMAGE, "at": np.array([0.4, 2.7, 5.2])}),
    Row("ssim", similar(pix.ssim, filter_size=5), IMAGE),
    Row("psnr", similar(pix.psnr), IMAGE),
    Row("simse", similar(pix.simse), IMAGE),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)
