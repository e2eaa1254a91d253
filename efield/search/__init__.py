"""Candidates, objectives, polish, optimization."""
