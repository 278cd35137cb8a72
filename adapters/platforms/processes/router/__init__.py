"""The router: a reverse proxy for HTTP/1.1 in the agent's own event loop."""
