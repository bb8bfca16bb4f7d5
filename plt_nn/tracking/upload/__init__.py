"""Delivers spools to MLflow, in a process of its own: no torch, no Lightning."""
