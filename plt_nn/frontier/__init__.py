"""Cuts a net into its frozen part, which is computed once for each sample, and the rest. Imports torch alone."""
