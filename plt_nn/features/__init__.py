"""Features that are computed once: their store, and loaders that serve them in the place of the inputs. torch alone."""
