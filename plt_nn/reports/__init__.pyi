from .run_report import RunReport

__all__ = ["RunReport"]
