"""What a running server says about itself: log lines and metrics."""
