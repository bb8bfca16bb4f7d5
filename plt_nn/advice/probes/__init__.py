"""Linear probes on frozen features: how well they tell classes apart, and how many samples that takes."""
