"""Correcting the absolute artifact locations of a store whose folder was moved."""
