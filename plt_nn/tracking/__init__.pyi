from .logger import DurableMLFlowLogger
from .masking import masked
from .store import Store, store_at

__all__ = ["DurableMLFlowLogger", "Store", "masked", "store_at"]
