"""Two servers: a primary that dies, a standby that is promoted, and what is lost with it."""
