"""Deterministic simulation: the real engine on a simulated world, driven by a seed (ADR 0014)."""
