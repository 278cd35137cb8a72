"""The files a user writes: YAML, JSON or Python text becomes documents, each with its lines."""
