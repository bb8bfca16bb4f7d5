"""Runs in MLflow: the Lightning logger and the embedded store. Imported lazily: the store alone needs no Lightning."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
