"""A plain DataLoader as a source: its order, its randomness, its batches, and the guard of its samples."""
