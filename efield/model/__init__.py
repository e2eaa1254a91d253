"""What a simulation is made of: head, coil, placement, target."""
