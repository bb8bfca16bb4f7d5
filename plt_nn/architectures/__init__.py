"""Nets that are configured by plain arguments: perceptron, convolutional, residual, recurrent, transformer."""

from plt_nn.architectures.activations import ACTIVATIONS, create_activation
from plt_nn.architectures.convnet import ConvNet
from plt_nn.architectures.initialisation import INITIALISERS, initialise
from plt_nn.architectures.mlp import MLP
from plt_nn.architectures.normalisation import create_norm
from plt_nn.architectures.recurrent import RecurrentNet
from plt_nn.architectures.residual import ResidualNet
from plt_nn.architectures.transformer import TransformerNet

__all__ = [
    "ACTIVATIONS",
    "INITIALISERS",
    "MLP",
    "ConvNet",
    "RecurrentNet",
    "ResidualNet",
    "TransformerNet",
    "create_activation",
    "create_norm",
    "initialise",
]
