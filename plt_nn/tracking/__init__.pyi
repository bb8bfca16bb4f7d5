from .flat import masked
from .logger import DurableMLFlowLogger
from .store import Store, store_at

__all__ = ["DurableMLFlowLogger", "Store", "masked", "store_at"]
