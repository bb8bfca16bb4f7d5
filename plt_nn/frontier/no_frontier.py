"""The finding that a net has no frontier."""


class NoFrontier(Exception):  # noqa: N818  # a finding rather than an error
    """There is no frozen part that could be computed beforehand; the text says why."""
