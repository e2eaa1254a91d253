"""Content hashes for provenance and caches."""

import hashlib

import numpy as np


def fingerprint(*arrays):
    """SHA-256 over dtype, shape and bytes of each array, as a hex string."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
