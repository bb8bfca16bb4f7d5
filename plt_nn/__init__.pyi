from .architectures import MLP, ConvNet, RecurrentNet, ResidualNet, TransformerNet
from .backbones import create_backbone, list_backbones, stages
from .callbacks import (
    Adapt,
    BestLossStopping,
    DatasetInputs,
    DueValidation,
    FitSummary,
    FreezingSchedule,
    LoadWeights,
    Phase,
    PredictionTable,
    SignalsBetweenSteps,
    StepSeeds,
    StepTimes,
    SystemMetrics,
    ValidationFigures,
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
    "DatasetInputs",
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
    "SignalsBetweenSteps",
    "StepSeeds",
    "StepTimes",
    "SyntheticRegressionData",
    "SystemMetrics",
    "TabularData",
    "TransformerNet",
    "ValidationFigures",
    "create_backbone",
    "list_backbones",
    "stages",
]
