from .architectures import MLP, ConvNet, RecurrentNet, ResidualNet, TransformerNet
from .backbones import create_backbone, list_backbones, stages
from .callbacks import (
    Adapt,
    BestLossStopping,
    DueValidation,
    FitSummary,
    FreezingSchedule,
    LoadWeights,
    Phase,
    PredictionTable,
    SigtermTogether,
    StepSeeds,
)
from .data import DigitsData, ImageFolderData, SyntheticRegressionData, TabularData
from .modules import Classifier, Regressor
from .tracking import DurableMLFlowLogger

__all__ = [
    "MLP",
    "Adapt",
    "BestLossStopping",
    "Classifier",
    "ConvNet",
    "DigitsData",
    "DueValidation",
    "DurableMLFlowLogger",
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
    "StepSeeds",
    "SyntheticRegressionData",
    "TabularData",
    "TransformerNet",
    "create_backbone",
    "list_backbones",
    "stages",
]
