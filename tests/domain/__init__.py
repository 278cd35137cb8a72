"""Rules of the domain, in memory."""
