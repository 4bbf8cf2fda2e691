"""A small convolutional net: convolutions and pooling, then a fully connected net.

The layout of LeNet (LeCun et al. 1998) with ReLU and 3×3 kernels: each block is conv → ReLU → max pool, which
halves the image, and the last image is a vector for two fully connected layers. Parameters are a plain pytree

    {"conv1": {"w": [3, 3, in, out], "b": [out]}, …, "layer1": {"w", "b"}, "layer2": {"w", "b"}}
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, UInt32

from funcnet._errors import ParameterError
from funcnet._types import Params
from funcnet.nn.activations import relu
from funcnet.nn.affine import affine
from funcnet.nn.convolutions import conv
from funcnet.nn.dropout import dropout
from funcnet.nn.mlp import INITS, init_mlp
from funcnet.nn.pooling import max_pool


def init_convnet(
    key: Key[Array, ""] | UInt32[Array, "2"],
    image: tuple[int, int, int],
    classes: int,
    *,
    channels: Sequence[int] = (32, 64),
    hidden: int = 128,
    init: str = "he",
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Draws the parameters of a small convolutional net: normal weights, zero biases.

    Args:
        key: source of the randomness.
        image: height, width and channels of the images.
        classes: scores of an image.
        channels: outputs of each convolution; each is followed by a pooling that halves the image.
        hidden: units between the last image and the scores.
        init: standard deviation of the weights by inputs and outputs, one of `INITS`.
        dtype: of all parameters.

    Raises:
        ParameterError: a number below 1, an unknown `init`, or more poolings than the image can be halved.

    >>> params = init_convnet(jax.random.key(0), (28, 28, 1), 10)
    >>> sum(p.size for p in jax.tree.leaves(params))
    421642
    """
    height, width = image[0] >> len(channels), image[1] >> len(channels)
    if min(*image, *channels, classes, hidden, height, width) < 1:
        raise ParameterError(
            f"init_convnet: image {image}, channels {tuple(channels)}, hidden {hidden}, {classes} classes; "
            f"expected numbers ≥ 1, and an image that {len(channels)} poolings leave something of"
        )
    if init not in INITS:
        raise ParameterError(f"init_convnet: init is {init!r}; expected one of {', '.join(INITS)}")
    key, *keys = jax.random.split(key, len(channels) + 1)
    params = {}
    inputs = image[2]
    for n, (k, outputs) in enumerate(zip(keys, channels, strict=True), start=1):
        deviation = INITS[init](9 * inputs, 9 * outputs)
        w = deviation * jax.random.normal(k, (3, 3, inputs, outputs), jnp.promote_types(dtype, jnp.float32))
        params[f"conv{n}"], inputs = {"w": w.astype(dtype), "b": jnp.zeros(outputs, dtype)}, outputs
    sizes = (height * width * inputs, hidden, classes)
    return params | init_mlp(key, sizes, init=init, dtype=dtype)


def convnet(
    params: Params,
    x: Float[Array, "*batch height width channels"],
    *,
    key: Key[Array, ""] | UInt32[Array, "2"] | None = None,
    rate: float = 0.5,
) -> Float[Array, "*batch classes"]:
    """Scores of a small convolutional net.

    Args:
        params: as `init_convnet` makes them.
        x: images.
        key: in training, which hidden units are dropped; without it none is.
        rate: the part of the hidden units that is dropped.

    Raises:
        ShapeError: images that are not what the parameters were made for.

    >>> params = init_convnet(jax.random.key(0), (8, 8, 3), 10, channels=(4,))
    >>> convnet(params, jnp.ones((2, 8, 8, 3))).shape
    (2, 10)
    """
    for n in range(1, len(params) - 1):
        with jax.named_scope(f"conv{n}"):
            x = max_pool(relu(conv(x, params[f"conv{n}"]["w"], padding="same") + params[f"conv{n}"]["b"]))
    x = x.reshape(*x.shape[:-3], math.prod(x.shape[-3:]))
    with jax.named_scope("layer1"):
        x = relu(affine(x, params["layer1"]["w"], params["layer1"]["b"]))
        x = x if key is None else dropout(x, key, rate=rate)
    with jax.named_scope("layer2"):
        return affine(x, params["layer2"]["w"], params["layer2"]["b"])
