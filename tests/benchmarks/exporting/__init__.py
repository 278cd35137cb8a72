"""What the benchmark and the memory test of exports share: a log, a server of it, a client."""
