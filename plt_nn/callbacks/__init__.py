"""Callbacks: one file, one callback; each is a thin hook over a pure function."""

from plt_nn.callbacks.best_loss_stopping import BestLossStopping
from plt_nn.callbacks.channels_last import ChannelsLast
from plt_nn.callbacks.compile_net import CompileNet
from plt_nn.callbacks.dataset_inputs import DatasetInputs
from plt_nn.callbacks.deployable_model import DeployableModel
from plt_nn.callbacks.due_validation import DueValidation
from plt_nn.callbacks.fit_costs import FitCosts
from plt_nn.callbacks.fit_summary import FitSummary
from plt_nn.callbacks.freezing_schedule import FreezingSchedule
from plt_nn.callbacks.frozen_feature_cache import FrozenFeatureCache
from plt_nn.callbacks.load_weights import LoadWeights
from plt_nn.callbacks.prediction_table import PredictionTable
from plt_nn.callbacks.signals_between_steps import SignalsBetweenSteps
from plt_nn.callbacks.step_seeds import StepSeeds
from plt_nn.callbacks.step_times import StepTimes
from plt_nn.callbacks.system_metrics import SystemMetrics
from plt_nn.callbacks.training_view import TrainingView
from plt_nn.callbacks.validation_figures import ValidationFigures
from plt_nn.freezing import Adapt, Phase

__all__ = [
    "Adapt",
    "BestLossStopping",
    "ChannelsLast",
    "CompileNet",
    "DatasetInputs",
    "DeployableModel",
    "DueValidation",
    "FitCosts",
    "FitSummary",
    "FreezingSchedule",
    "FrozenFeatureCache",
    "LoadWeights",
    "Phase",
    "PredictionTable",
    "SignalsBetweenSteps",
    "StepSeeds",
    "StepTimes",
    "SystemMetrics",
    "TrainingView",
    "ValidationFigures",
]
