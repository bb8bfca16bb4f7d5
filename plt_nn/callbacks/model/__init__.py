"""Weights in and out: loading them, predicting with them, and the model that stands alone."""
