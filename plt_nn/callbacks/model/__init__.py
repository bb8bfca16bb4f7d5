"""Weights in and out: loading them, predicting with them, and the deployable model."""
