"""What a deployment is and may become: no I/O, no clock, no environment."""
