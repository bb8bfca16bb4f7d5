"""The hash by which two samples are told to be the same."""

from hashlib import blake2b

HASH_BYTES = 16  # as 32 hexadecimal digits; MLflow takes 36 characters at most as a data set's digest


def content_hash(content: bytes | memoryview) -> bytes:
    """The hash of a sample's bytes, 16 bytes long (blake2b, https://www.rfc-editor.org/rfc/rfc7693)."""
    return blake2b(content, digest_size=HASH_BYTES).digest()
