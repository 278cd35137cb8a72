"""What the HTTP benchmarks share: servers in processes of their own, and a client that is light."""
