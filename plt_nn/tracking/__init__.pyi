from .flat import masked
from .logger import EmbeddedMLFlowLogger
from .store import Store, store_at

__all__ = ["EmbeddedMLFlowLogger", "Store", "masked", "store_at"]
