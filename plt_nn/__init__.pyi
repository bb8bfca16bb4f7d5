from .architectures import MLP, ConvNet, RecurrentNet, ResidualNet, TransformerNet
from .backbones import create_backbone, list_backbones, stages
from .callbacks import (
    BestLossStopping,
    FitSummary,
    FreezingSchedule,
    LoadWeights,
    Phase,
    PredictionTable,
    SigtermTogether,
)
from .data import DigitsData, ImageFolderData, SyntheticRegressionData, TabularData
from .modules import Classifier, Regressor
from .tracking import EmbeddedMLFlowLogger

__all__ = [
    "MLP",
    "BestLossStopping",
    "Classifier",
    "ConvNet",
    "DigitsData",
    "EmbeddedMLFlowLogger",
    "FitSummary",
    "FreezingSchedule",
    "ImageFolderData",
    "LoadWeights",
    "Phase",
    "PredictionTable",
    "RecurrentNet",
    "Regressor",
    "ResidualNet",
    "SigtermTogether",
    "SyntheticRegressionData",
    "TabularData",
    "TransformerNet",
    "create_backbone",
    "list_backbones",
    "stages",
]
