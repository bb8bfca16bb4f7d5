"""`FrozenFeatureCache`: the frozen part of a net is computed once for each sample."""
