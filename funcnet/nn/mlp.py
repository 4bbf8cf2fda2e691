"""Fully connected networks: affine layers with an activation between them.

CS231n 2019, lecture 4, slides 13 to 24. A 2-layer net is W₂ max(0, W₁ x): "N-layer" counts the
weight matrices, and so an N-layer net has N − 1 hidden layers. Parameters are a plain pytree

    {"layer1": {"w": [in, hidden], "b": [hidden]}, "layer2": {"w": [hidden, out], "b": [out]}}

whose leaves have the names `layer1/w`, `layer1/b`, … in a checkpoint.
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, UInt32

from funcnet._errors import ParameterError, ShapeError
from funcnet._types import Activation, Params
from funcnet.nn.activations import relu, sigmoid
from funcnet.nn.affine import affine, linear, maxout

INITS = {
    "he": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,
    "glorot": lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5,
    "lecun": lambda fan_in, fan_out: (1 / fan_in) ** 0.5,
    "normal": lambda fan_in, fan_out: 0.01,
}
"""Standard deviations of initial weights as functions of a layer's inputs and outputs."""


def init_mlp(
    key: Key[Array, ""] | UInt32[Array, "2"],
    sizes: tuple[int, ...] | list[int],
    *,
    init: str = "he",
    pieces: int | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Draws the parameters of a fully connected net: normal weights, zero biases.

    Args:
        key: source of the randomness.
        sizes: inputs, hidden units of each layer, outputs: (3072, 100, 10) is a 2-layer net.
        init: standard deviation of the weights: "he" √(2/in) (He et al. 2015), "glorot"
            √(2/(in + out)) (Glorot and Bengio 2010), "lecun" √(1/in) (LeCun et al. 1998), or
            "normal" 0.01, as the course begins.
        pieces: for maxout, the number of affine pieces of each hidden unit.
        dtype: of all parameters.

    Raises:
        ParameterError: fewer than two sizes, one below 1, or an unknown `init`.

    >>> params = init_mlp(jax.random.key(0), (3072, 100, 10))
    >>> jax.tree.map(jnp.shape, params)
    {'layer1': {'b': (100,), 'w': (3072, 100)}, 'layer2': {'b': (10,), 'w': (100, 10)}}
    """
    if len(sizes) < 2 or min(sizes) < 1 or (pieces is not None and pieces < 1):
        raise ParameterError(
            f"init_mlp: sizes are {tuple(sizes)} with pieces={pieces}; expected at least inputs and outputs, "
            f"every number ≥ 1"
        )
    if init not in INITS:
        raise ParameterError(f"init_mlp: init is {init!r}; expected one of {', '.join(INITS)}")
    layers = len(sizes) - 1
    params = {}
    for n, layer_key in enumerate(jax.random.split(key, layers), start=1):
        fan_in, fan_out = sizes[n - 1], sizes[n]
        b_shape = (fan_out,) if pieces is None or n == layers else (pieces, fan_out)
        w = jax.random.normal(layer_key, (fan_in, *b_shape), jnp.promote_types(dtype, jnp.float32))
        w = INITS[init](fan_in, fan_out) * w
        params[f"layer{n}"] = {"w": w.astype(dtype), "b": jnp.zeros(b_shape, dtype)}
    return params


def mlp(
    params: Params, x: Float[Array, "*batch inputs"], *, activation: Activation | None = relu
) -> Float[Array, "*batch outputs"]:
    """Scores of a fully connected net of any depth.

    Args:
        params: as `init_mlp` makes them.
        x: inputs with any leading batch dimensions.
        activation: between the layers: a gate, any elementwise function, `maxout` (for parameters
            made with `pieces`), or None for a net that stays linear (see `collapse`).

    Raises:
        ShapeError: x's last axis is not the first layer's number of inputs.

    >>> params = init_mlp(jax.random.key(0), (3, 4, 4, 1))  # slide 24: a 3-layer net
    >>> mlp(params, jnp.ones((5, 3)), activation=sigmoid).shape
    (5, 1)
    """
    return list(mlp_outputs(params, x, activation=activation).values())[-1]


def mlp_outputs(
    params: Params, x: Float[Array, "*batch inputs"], *, activation: Activation | None = relu
) -> dict[str, Float[Array, "..."]]:
    """Output of every gate of a fully connected net, by name in the order of the forward pass.

    Takes what `mlp` takes; the last entry is what `mlp` returns.

    >>> params = init_mlp(jax.random.key(0), (3, 4, 1))
    >>> list(mlp_outputs(params, jnp.ones(3)))
    ['layer1/affine', 'layer1/relu', 'layer2/affine']
    """
    outputs = {}
    for n in range(1, len(params) + 1):
        layer = f"layer{n}"
        w, b = params[layer]["w"], params[layer]["b"]
        if activation is maxout and n < len(params):
            x = outputs[f"{layer}/maxout"] = maxout(x, w, b)
            continue
        x = outputs[f"{layer}/affine"] = affine(x, w, b)
        if activation is not None and n < len(params):
            x = outputs[f"{layer}/{_name(activation)}"] = activation(x)
    return outputs


def _name(function: Activation) -> str:
    return getattr(function, "__name__", "activation")


def weights(params: Params) -> list[Array]:
    """The weight arrays of a net, layer by layer, without the biases: what R(W) sums over.

    >>> [w.shape for w in weights(init_mlp(jax.random.key(0), (3, 4, 1)))]
    [(3, 4), (4, 1)]
    """
    return [params[f"layer{n}"]["w"] for n in range(1, len(params) + 1)]


def collapse(params: Params) -> tuple[Float[Array, "inputs outputs"], Float[Array, " outputs"]]:
    """The one affine map (w, b) that a net without activations amounts to.

    (x w₁ + b₁) w₂ + b₂ = x (w₁ w₂) + (b₁ w₂ + b₂): without a nonlinearity depth adds nothing
    (CS231n 2019, lecture 4, slides 17 to 20).

    Raises:
        ShapeError: the net has maxout layers, which are not linear.

    >>> params = init_mlp(jax.random.key(0), (3072, 100, 10))
    >>> w, b = collapse(params)
    >>> w.shape, b.shape
    ((3072, 10), (10,))
    """
    if any(w.ndim != 2 for w in weights(params)):
        raise ShapeError(
            "collapse: a net with maxout layers has no single matrix; its pieces already bend it"
        )
    w, b = params["layer1"]["w"], params["layer1"]["b"]
    for n in range(2, len(params) + 1):
        layer = params[f"layer{n}"]
        w, b = linear(w, layer["w"]), affine(b, layer["w"], layer["b"])
    return w, b


def neuron(
    w: Float[Array, " inputs"], x: Float[Array, "*batch inputs"], b: Float[Array, ""] | float
) -> Float[Array, "*batch"]:
    """The firing rate σ(Σ wᵢ xᵢ + b) of a neuron (CS231n 2019, lecture 4, slides 30 to 35).

    >>> f"{neuron(jnp.array([2.0, -3.0]), jnp.array([-1.0, -2.0]), -3.0):.2f}"  # slide 61
    '0.73'
    """
    return sigmoid(linear(x, w[:, None])[..., 0] + b)
