from .architectures import MLP, ConvNet, RecurrentNet, ResidualNet, TransformerNet
from .backbones import create_backbone, list_backbones, stages
from .callbacks import BestLossStopping, FreezingSchedule, FrozenFeatureCache
from .data import DigitsData, ImageFolderData, SyntheticRegressionData, TabularData
from .errors import (
    ConfigError,
    DataError,
    ExportError,
    NotCuttable,
    NotFingerprintable,
    PltNNError,
    TrackingError,
    TrainingError,
    WeightsError,
)
from .freezing import Adapt, Phase
from .modules import Classifier, Regressor
from .tracking import DurableMLFlowLogger

__version__: str

__all__ = [
    "MLP",
    "Adapt",
    "BestLossStopping",
    "Classifier",
    "ConfigError",
    "ConvNet",
    "DataError",
    "DigitsData",
    "DurableMLFlowLogger",
    "ExportError",
    "FreezingSchedule",
    "FrozenFeatureCache",
    "ImageFolderData",
    "NotCuttable",
    "NotFingerprintable",
    "Phase",
    "PltNNError",
    "RecurrentNet",
    "Regressor",
    "ResidualNet",
    "SyntheticRegressionData",
    "TabularData",
    "TrackingError",
    "TrainingError",
    "TransformerNet",
    "WeightsError",
    "__version__",
    "create_backbone",
    "list_backbones",
    "stages",
]
