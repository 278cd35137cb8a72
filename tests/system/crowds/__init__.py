"""Very many clients at once, and clients that are very slow."""
