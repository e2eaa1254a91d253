"""Closed forms on spheres and the meshes to test against them: the oracles of efield."""
