"""Linear algebra: multigrid, block conjugate gradients, prepared heads."""
