"""Callbacks, in a room for each purpose; each is a thin hook over pure functions."""

from plt_nn.callbacks.feature_cache.frozen_feature_cache import FrozenFeatureCache
from plt_nn.callbacks.freezing.freezing_schedule import FreezingSchedule
from plt_nn.callbacks.model.deployable_model import DeployableModel
from plt_nn.callbacks.model.load_weights import LoadWeights
from plt_nn.callbacks.model.prediction_table import PredictionTable
from plt_nn.callbacks.resume.exact_resume import ExactResume
from plt_nn.callbacks.resume.signals_between_steps import SignalsBetweenSteps
from plt_nn.callbacks.resume.step_seeds import StepSeeds
from plt_nn.callbacks.speed.channels_last import ChannelsLast
from plt_nn.callbacks.speed.compile_net import CompileNet
from plt_nn.callbacks.stopping.best_loss_stopping import BestLossStopping
from plt_nn.callbacks.telemetry.dataset_inputs import DatasetInputs
from plt_nn.callbacks.telemetry.fit_costs import FitCosts
from plt_nn.callbacks.telemetry.fit_summary import FitSummary
from plt_nn.callbacks.telemetry.step_times import StepTimes
from plt_nn.callbacks.telemetry.system_metrics import SystemMetrics
from plt_nn.callbacks.validation.validation_figures import ValidationFigures
from plt_nn.callbacks.view.training_view import TrainingView
from plt_nn.freezing import Adapt, Phase

__all__ = [
    "Adapt",
    "BestLossStopping",
    "ChannelsLast",
    "CompileNet",
    "DatasetInputs",
    "DeployableModel",
    "ExactResume",
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
