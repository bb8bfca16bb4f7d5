"""`plt-nn plan`."""
