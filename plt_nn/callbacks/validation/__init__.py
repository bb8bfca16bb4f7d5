"""`ValidationFigures`: what a validation shows beyond its mean loss."""
