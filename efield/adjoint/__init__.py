"""Reciprocity: target functionals, their currents, the exterior field, the yaw expansion."""
