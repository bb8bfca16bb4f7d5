"""`plt-nn ui`."""
