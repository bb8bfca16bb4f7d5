"""LightningModules around any net."""

from plt_nn.modules.classifier import Classifier
from plt_nn.modules.regressor import Regressor

__all__ = ["Classifier", "Regressor"]
