"""Read models, each rebuilt from the log."""
