"""AlexNet: five convolutions and three fully connected layers for 1000 classes of images.

Krizhevsky, Sutskever and Hinton 2012; CS231n 2019, lecture 4, slides 39 and 125. Three nets go by the name:

    paper          two groups in conv2, conv4 and conv5, as the net lay on two GPUs; conv → ReLU → local
                   response normalization → pool; images of 227×227
    caffenet       the same with the pool before the normalization, which divides α by 5 and starts from 1
                   (BVLC Caffe, bvlc_reference_caffenet)
    torchvision    no groups, no normalization, fewer channels; images of 224×224 (Krizhevsky 2014, One weird
                   trick for parallelizing convolutional neural networks; torchvision, alexnet.py)

Parameters are a plain pytree {"conv1": {"w", "b"}, …, "conv5", "fc6", "fc7", "fc8"}; images have their
channels last, and so has what the fully connected layers see of the last one.
"""

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, UInt32

from funcnet._errors import DataError, ParameterError
from funcnet._types import Params
from funcnet.nn.activations import relu
from funcnet.nn.affine import affine
from funcnet.nn.convolutions import conv
from funcnet.nn.dropout import dropout
from funcnet.nn.local_response import local_response_norm
from funcnet.nn.pooling import max_pool


@dataclass(frozen=True)
class Convolution:
    """A convolution and what follows it.

    Attributes:
        outputs: channels.
        size: taps along each axis.
        stride: places from one window to the next.
        padding: zeros on each side.
        groups: parts that channels are split into.
        bias: the bias before training.
        norm: whether its outputs are normalized by their neighbours.
        pool: whether they are pooled, 3×3 by 2.
    """

    outputs: int
    size: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: float = 0.0
    norm: bool = False
    pool: bool = False


@dataclass(frozen=True)
class AlexNet:
    """One of the nets of that name.

    Attributes:
        convolutions: conv1 to conv5.
        pool_first: whether pooling comes before normalization.
        alpha: of the normalization, for each square.
        k: what the normalization starts from.
        bias: of fc6 and fc7 before training.
    """

    convolutions: tuple[Convolution, ...]
    pool_first: bool = False
    alpha: float = 1e-4
    k: float = 2.0
    bias: float = 1.0


def _two_groups(bias: float) -> tuple[Convolution, ...]:
    return (
        Convolution(96, 11, stride=4, norm=True, pool=True),
        Convolution(256, 5, padding=2, groups=2, bias=bias, norm=True, pool=True),
        Convolution(384, 3, padding=1),
        Convolution(384, 3, padding=1, groups=2, bias=bias),
        Convolution(256, 3, padding=1, groups=2, bias=bias, pool=True),
    )


ALEXNETS = {
    "paper": AlexNet(_two_groups(1.0)),
    "caffenet": AlexNet(_two_groups(1.0), pool_first=True, alpha=1e-4 / 5, k=1.0),
    "torchvision": AlexNet(
        (
            Convolution(64, 11, stride=4, padding=2, pool=True),
            Convolution(192, 5, padding=2, pool=True),
            Convolution(384, 3, padding=1),
            Convolution(256, 3, padding=1),
            Convolution(256, 3, padding=1, pool=True),
        ),
        bias=0.0,
    ),
}
"""The nets by name."""

_LAST = 6
"""Height and width of the last image."""


def init_alexnet(
    key: Key[Array, ""] | UInt32[Array, "2"],
    *,
    variant: str = "paper",
    classes: int = 1000,
    hidden: int = 4096,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Draws the parameters of an AlexNet, as the paper does: normal weights of deviation 0.01.

    Args:
        key: source of the randomness.
        variant: which of `ALEXNETS`.
        classes: scores of an image.
        hidden: units of fc6 and fc7.
        dtype: of all parameters.

    Raises:
        ParameterError: no such variant, or a number below 1.

    >>> params = jax.eval_shape(init_alexnet, jax.random.key(0))
    >>> f"{sum(p.size for p in jax.tree.leaves(params)):,}"
    '60,965,224'
    """
    net = _net(variant)
    if min(classes, hidden) < 1:
        raise ParameterError(f"init_alexnet: classes are {classes}, hidden {hidden}; expected numbers ≥ 1")
    shapes, biases, inputs = {}, {}, 3
    for n, layer in enumerate(net.convolutions, start=1):
        shapes[f"conv{n}"] = (layer.size, layer.size, inputs // layer.groups, layer.outputs)
        biases[f"conv{n}"], inputs = layer.bias, layer.outputs
    sizes = (inputs * _LAST**2, hidden, hidden, classes)
    for n, bias in enumerate((net.bias, net.bias, 0.0)):
        shapes[f"fc{n + 6}"], biases[f"fc{n + 6}"] = sizes[n : n + 2], bias
    keys = jax.random.split(key, len(shapes))
    return {
        name: {
            "w": (0.01 * jax.random.normal(k, shape, jnp.promote_types(dtype, jnp.float32))).astype(dtype),
            "b": jnp.full(shape[-1], biases[name], dtype),
        }
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def alexnet(
    params: Params,
    x: Float[Array, "*batch height width 3"],
    *,
    variant: str = "paper",
    key: Key[Array, ""] | UInt32[Array, "2"] | None = None,
    rate: float = 0.5,
) -> Float[Array, "*batch classes"]:
    """Scores of an AlexNet.

    Args:
        params: as `init_alexnet` makes them.
        x: images of 227×227, of 224×224 for torchvision's.
        variant: which of `ALEXNETS`.
        key: in training, which units of fc6 and fc7 are dropped; without it none is.
        rate: the part of the units that is dropped.

    Raises:
        ParameterError: no such variant.
        ShapeError: images of another size.

    >>> image = jnp.zeros((227, 227, 3))
    >>> jax.eval_shape(lambda key: alexnet(init_alexnet(key), image), jax.random.key(0)).shape
    (1000,)
    """
    net = _net(variant)
    for n, layer in enumerate(net.convolutions, start=1):
        with jax.named_scope(f"conv{n}"):
            x = _convolved(net, layer, params[f"conv{n}"], x)
    x = x.reshape(*x.shape[:-3], math.prod(x.shape[-3:]))
    keys = (None, None) if key is None else jax.random.split(key)
    for name, k in zip(("fc6", "fc7"), keys, strict=True):
        with jax.named_scope(name):
            x = relu(affine(x, params[name]["w"], params[name]["b"]))
            x = x if k is None else dropout(x, k, rate=rate)
    with jax.named_scope("fc8"):
        return affine(x, params["fc8"]["w"], params["fc8"]["b"])


def _net(variant: str) -> AlexNet:
    if variant not in ALEXNETS:
        raise ParameterError(f"alexnet: variant is {variant!r}; expected one of {', '.join(ALEXNETS)}")
    return ALEXNETS[variant]


def _convolved(net: AlexNet, layer: Convolution, p: dict[str, Array], x: Array) -> Array:
    x = conv(x, p["w"], stride=layer.stride, padding=layer.padding, groups=layer.groups)
    x = relu(x + p["b"])
    if layer.pool and net.pool_first:
        x = max_pool(x, size=(3, 3), stride=2)
    if layer.norm:
        x = local_response_norm(x, alpha=net.alpha, k=net.k)
    return max_pool(x, size=(3, 3), stride=2) if layer.pool and not net.pool_first else x


TORCHVISION = {
    **{f"conv{n}": f"features.{i}" for n, i in enumerate((0, 3, 6, 8, 10), start=1)},
    **{f"fc{n}": f"classifier.{i}" for n, i in zip((6, 7, 8), (1, 4, 6), strict=True)},
}
"""What torchvision calls the layers."""


def read_torchvision_alexnet(path: str | Path) -> Params:
    """The parameters of torchvision's AlexNet, from a file of its `state_dict`, for `variant="torchvision"`.

    PyTorch has outputs first, [out, in, height, width] and [out, in], and fc6 sees the last image with its
    channels first.

    Args:
        path: a .safetensors file, or an .npz of arrays with torchvision's names.

    Raises:
        DataError: a file that is neither, or without a layer, or with one of another shape.

    Example:
        torch.save is a pickle, which is not read. In PyTorch:
        `safetensors.torch.save_file(model.state_dict(), "alexnet.safetensors")`.
    """
    arrays = _arrays(Path(path))
    params = {}
    for name, theirs in TORCHVISION.items():
        missing = [key for key in (f"{theirs}.weight", f"{theirs}.bias") if key not in arrays]
        if missing:
            raise DataError(f"{path}: no {' and no '.join(missing)}; expected torchvision's alexnet, {name}")
        w, b = arrays[f"{theirs}.weight"], arrays[f"{theirs}.bias"]
        if w.ndim != (4 if name.startswith("conv") else 2):
            raise DataError(f"{path}: {theirs}.weight has shape {list(w.shape)}, expected that of {name}")
        if name == "fc6":
            w = w.reshape(len(w), -1, _LAST, _LAST).transpose(2, 3, 1, 0).reshape(-1, len(w))
        else:
            w = w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T
        params[name] = {"w": jnp.asarray(w), "b": jnp.asarray(b)}
    return params


def _arrays(path: Path) -> Mapping[str, np.ndarray]:
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        return safetensors.numpy.load_file(path)
    except (OSError, ValueError, zipfile.BadZipFile, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: {error}; expected a .safetensors or .npz file of arrays") from error
