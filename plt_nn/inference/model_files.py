"""The names of a model's files. Imports nothing: the uploader, which has no torch, knows them too."""

CARD, WEIGHTS = "model.json", "best.safetensors"
