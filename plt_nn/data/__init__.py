"""DataModules for image folders, digits, tables and the lesson's example, with resumable loaders."""

from plt_nn.data.batch import Batch
from plt_nn.data.digits import DigitsData
from plt_nn.data.fingerprints import SplitFingerprint
from plt_nn.data.image_folder import ImageFolderData
from plt_nn.data.sampling import EpochBatches
from plt_nn.data.synthetic import SyntheticRegressionData
from plt_nn.data.tabular import TabularData
from plt_nn.data.tensors import TensorBatches

__all__ = [
    "Batch",
    "DigitsData",
    "EpochBatches",
    "ImageFolderData",
    "SplitFingerprint",
    "SyntheticRegressionData",
    "TabularData",
    "TensorBatches",
]
