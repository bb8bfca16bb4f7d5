"""Figures drawn with matplotlib: confusion matrix, calibration, most wrong images, learning curves."""
