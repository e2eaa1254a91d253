"""First-order finite elements: source, assembly."""
