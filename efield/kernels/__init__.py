"""Numba leaves: arrays in, arrays out, SI, no validation. Wrappers check."""
