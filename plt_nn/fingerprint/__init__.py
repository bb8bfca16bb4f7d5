"""Identifies objects, arrays, tensors, code and package versions by texts that are the same in every process."""
