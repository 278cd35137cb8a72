"""Planted bugs: patches that the suite must notice, or it is blind."""
