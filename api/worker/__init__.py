"""The worker: what runs the process managers; it claims deployments and carries each to its end."""
