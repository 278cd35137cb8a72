"""Shipslog's face: what pipeline files, tests and scripts may import."""
