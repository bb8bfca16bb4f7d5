"""`plt-nn rank`."""
