"""Local processes: an agent that outlives the server, its shims and its router."""
