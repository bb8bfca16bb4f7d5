"""Where a net is cut: its frozen beginning is computed once for each sample, the rest is trained. torch alone."""
