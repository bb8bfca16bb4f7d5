"""Adapters (LoRA) that a phase trains in place of whole layers."""
