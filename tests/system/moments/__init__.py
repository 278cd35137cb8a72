"""Faults at a chosen moment: the n-th boundary that a process passes, the n-th call that fails."""
