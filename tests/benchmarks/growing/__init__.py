"""What the benchmark of growth asks: the log of an engine, and the read models over it."""
