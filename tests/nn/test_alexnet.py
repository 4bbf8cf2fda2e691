"""AlexNet: the published numbers of its layers, and its gradient."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import funcnet
from funcnet import _jax, nn
from funcnet._errors import DataError, ParameterError
from funcnet.nn.alexnet import TORCHVISION

KEY = jax.random.key(231)
PUBLISHED = {  # parameters of the net; BVLC Caffe's bvlc_alexnet and torchvision's alexnet
    "paper": 60_965_224,
    "caffenet": 60_965_224,
    "torchvision": 61_100_840,
}
LAYERS = {  # parameters, multiply-adds of one image (BVLC Caffe, bvlc_alexnet)
    "conv1": (34_944, 105_415_200),
    "conv2": (307_456, 223_948_800),
    "conv3": (885_120, 149_520_384),
    "conv4": (663_936, 112_140_288),
    "conv5": (442_624, 74_760_192),
    "fc6": (37_752_832, 37_748_736),
    "fc7": (16_781_312, 16_777_216),
    "fc8": (4_097_000, 4_096_000),
}
IMAGES = {"conv1": (55, 96), "conv2": (27, 256), "conv3": (13, 384), "conv4": (13, 384), "conv5": (13, 256)}
"""Height and channels of what each convolution gives (BVLC Caffe)."""
GROUPS = {"conv2": 2, "conv4": 2, "conv5": 2}
"""Halves of these layers see half of the channels each (Krizhevsky et al. 2012, figure 2)."""


def shapes(variant="paper"):
    return jax.eval_shape(lambda key: nn.init_alexnet(key, variant=variant), KEY)


def small(variant="paper"):
    """With few units; the convolutions are those of the paper."""
    return nn.init_alexnet(KEY, variant=variant, hidden=8, classes=5)


def size(variant):
    return 224 if variant == "torchvision" else 227


def size_of(tree):
    return sum(math.prod(p.shape) for p in jax.tree.leaves(tree))


@pytest.mark.parametrize(("variant", "parameters"), PUBLISHED.items())
def test_it_has_the_parameters_that_were_published(variant, parameters):
    assert size_of(shapes(variant)) == parameters


def test_each_layer_has_its_parameters():
    assert {name: size_of(layer) for name, layer in shapes().items()} == {k: v[0] for k, v in LAYERS.items()}


def test_multiply_adds_are_those_of_the_paper():
    jaxpr = jax.make_jaxpr(nn.alexnet)(shapes(), jax.ShapeDtypeStruct((227, 227, 3), jnp.float32))
    found = list(multiply_adds(jaxpr.jaxpr))
    expected = [
        product
        for name, (_, count) in LAYERS.items()
        for product in GROUPS.get(name, 1) * [(IMAGES.get(name, (1,))[0], count // GROUPS.get(name, 1))]
    ]
    assert found == expected
    assert sum(count for _, count in found) == 724_406_816


def multiply_adds(jaxpr):
    """For each product, the height of its result and the multiply-adds."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("conv_general_dilated", "dot_general"):
            (y,), kernel = eqn.outvars, eqn.invars[1].aval
            image = y.aval.shape[1:-1] if kernel.ndim == 4 else (1,)
            yield image[0], math.prod(image) * kernel.size
        for inner, _ in _jax.programs(eqn):
            yield from multiply_adds(inner)


@pytest.mark.parametrize("variant", nn.ALEXNETS)
def test_its_gradient_is_that_of_jax(variant):
    params, x = small(variant), jax.random.normal(KEY, (size(variant), size(variant), 3))
    loss = lambda params: nn.softmax_loss(1e3 * nn.alexnet(params, x, variant=variant), 3)  # noqa: E731
    ours, theirs = jax.jit(funcnet.grad(loss))(params), jax.jit(jax.grad(loss))(params)
    for got, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        scale = float(jnp.max(jnp.abs(expected)))
        assert scale > 0
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * scale)


def test_a_key_drops_units():
    params, x = small(), jax.random.normal(KEY, (227, 227, 3))
    scores = jax.jit(nn.alexnet)
    assert not np.array_equal(scores(params, x), scores(params, x, key=KEY))


def state_dict(params):
    """What torchvision's state_dict would be."""
    arrays = {}
    for name, theirs in TORCHVISION.items():
        w = np.asarray(params[name]["w"])
        if name == "fc6":
            w = w.reshape(6, 6, -1, w.shape[-1]).transpose(2, 0, 1, 3).reshape(-1, w.shape[-1])
        arrays[f"{theirs}.weight"] = np.ascontiguousarray(w.T if w.ndim == 2 else w.transpose(3, 2, 0, 1))
        arrays[f"{theirs}.bias"] = np.asarray(params[name]["b"])
    return arrays


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_weights_of_torchvision_are_read(tmp_path, suffix):
    params, path = small("torchvision"), tmp_path / f"alexnet.{suffix}"
    (safetensors.numpy.save_file if suffix == "safetensors" else write_npz)(state_dict(params), path)
    read = nn.read_torchvision_alexnet(path)
    assert jax.tree.all(jax.tree.map(np.array_equal, read, params))


def write_npz(arrays, path):
    np.savez(path, **arrays)


def test_what_is_no_alexnet_is_told(tmp_path):
    path = tmp_path / "net.npz"
    np.savez(path, w=np.zeros(2))
    with pytest.raises(DataError, match=r"no features\.0\.weight"):
        nn.read_torchvision_alexnet(path)
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"expected a \.safetensors or \.npz"):
        nn.read_torchvision_alexnet(path)
    with pytest.raises(ParameterError, match="paper, caffenet, torchvision"):
        nn.init_alexnet(KEY, variant="vgg")


def test_it_is_torchvisions(tmp_path):
    """Scores and gradients of random weights, beside PyTorch's layers."""
    torch = pytest.importorskip("torch")
    params, x = small("torchvision"), np.asarray(jax.random.normal(KEY, (224, 224, 3)))
    layers = []
    for n, pool in enumerate((True, True, False, False, True)):
        inputs, outputs = (3, 64, 192, 384, 256)[n], (64, 192, 384, 256, 256)[n]
        options = ({"kernel_size": 11, "stride": 4}, {"kernel_size": 5}, *({"kernel_size": 3},) * 3)[n]
        padding = 1 if n > 1 else 2
        layers += [torch.nn.Conv2d(inputs, outputs, padding=padding, **options), torch.nn.ReLU()]
        layers += [torch.nn.MaxPool2d(3, 2)] if pool else []
    net = torch.nn.Module()
    net.features = torch.nn.Sequential(*layers)
    linear, drop = torch.nn.Linear, torch.nn.Identity
    units = [drop(), linear(9216, 8), torch.nn.ReLU(), drop(), linear(8, 8), torch.nn.ReLU(), linear(8, 5)]
    net.classifier = torch.nn.Sequential(*units)
    net.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in state_dict(params).items()})
    image = torch.from_numpy(x.transpose(2, 0, 1)[None].copy()).requires_grad_()
    scores = net.classifier(net.features(image).flatten(1))
    scores.sum().backward()
    ours = lambda x: nn.alexnet(params, x, variant="torchvision")  # noqa: E731
    np.testing.assert_allclose(ours(jnp.asarray(x)), scores[0].detach().numpy(), rtol=1e-4, atol=1e-6)
    x_bar = funcnet.grad(lambda x: ours(x).sum())(jnp.asarray(x))
    theirs = image.grad[0].numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(x_bar, theirs, rtol=1e-3, atol=1e-4 * abs(theirs).max())
