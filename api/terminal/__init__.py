"""What a person at a terminal sees, and what a program behind a pipe reads."""
