"""Cases named after the fault."""
