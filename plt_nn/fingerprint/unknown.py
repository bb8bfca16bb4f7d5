"""What is raised where nothing tells an object from others."""


class Unknown(Exception):  # noqa: N818  # a finding rather than an error
    """Nothing tells an object from others of its kind."""
