"""Gates, losses, regularizers and the nets made of them.

A gate is a pure function with a backward pass written by hand (`funcnet.gate`); `jax.grad`, `jit`,
`vmap` and `scan` work on all of them. ACTIVATIONS, INITS, LOSSES and REGULARIZERS are what can be chosen
by name.
"""

from funcnet.nn import flat
from funcnet.nn.activations import elu, gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
from funcnet.nn.affine import affine, linear, maxout
from funcnet.nn.alexnet import ALEXNETS, alexnet, init_alexnet, read_torchvision_alexnet
from funcnet.nn.convnet import convnet, init_convnet
from funcnet.nn.convolutions import conv, depthwise_conv
from funcnet.nn.dropout import dropout
from funcnet.nn.local_response import local_response_norm
from funcnet.nn.losses import logistic_loss, mse_loss, softmax_loss, svm_loss, weighted_mean
from funcnet.nn.machine import Machine, ntm_start, ntm_step
from funcnet.nn.many_classes import linear_softmax_loss
from funcnet.nn.memory import circular_convolution, cosine_similarity, embedding
from funcnet.nn.mlp import INITS, collapse, init_mlp, mlp, mlp_outputs, neuron, weights
from funcnet.nn.names import ACTIVATIONS, LOSSES, REGULARIZERS
from funcnet.nn.normalization import batch_norm, batch_norm_inference, layer_norm
from funcnet.nn.ntm import Trace, init_ntm, ntm, ntm_trace
from funcnet.nn.pooling import avg_pool, max_pool
from funcnet.nn.randwired import init_randwired, randwired
from funcnet.nn.recurrent import lstm_cell
from funcnet.nn.regularizers import elastic_net, l1, l2
from funcnet.nn.spectral import frechet, low_rank, matrix_function, nuclear_norm, polar, projector
from funcnet.nn.through_time import through_time
from funcnet.nn.wiring import Wiring, random_graph

__all__ = [
    "ACTIVATIONS",
    "ALEXNETS",
    "INITS",
    "LOSSES",
    "REGULARIZERS",
    "Machine",
    "Trace",
    "Wiring",
    "affine",
    "alexnet",
    "avg_pool",
    "batch_norm",
    "batch_norm_inference",
    "circular_convolution",
    "collapse",
    "conv",
    "convnet",
    "cosine_similarity",
    "depthwise_conv",
    "dropout",
    "elastic_net",
    "elu",
    "embedding",
    "flat",
    "frechet",
    "gelu",
    "init_alexnet",
    "init_convnet",
    "init_mlp",
    "init_ntm",
    "init_randwired",
    "l1",
    "l2",
    "layer_norm",
    "leaky_relu",
    "linear",
    "linear_softmax_loss",
    "local_response_norm",
    "logistic_loss",
    "low_rank",
    "lstm_cell",
    "matrix_function",
    "max_pool",
    "maxout",
    "mlp",
    "mlp_outputs",
    "mse_loss",
    "neuron",
    "ntm",
    "ntm_start",
    "ntm_step",
    "ntm_trace",
    "nuclear_norm",
    "polar",
    "projector",
    "random_graph",
    "randwired",
    "read_torchvision_alexnet",
    "relu",
    "sigmoid",
    "silu",
    "softmax_loss",
    "softplus",
    "svm_loss",
    "tanh",
    "through_time",
    "weighted_mean",
    "weights",
]
