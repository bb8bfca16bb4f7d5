"""Features that are computed once: their store, and loaders that serve them in place of inputs. Imports torch alone."""
