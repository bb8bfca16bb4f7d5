"""A plain DataLoader as a source: its order, its chance, what is in its batches, whether its samples stay the same."""
