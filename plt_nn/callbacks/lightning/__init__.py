"""The one place that touches the internals of Lightning: order of callbacks, strategies, loops, loggers."""
