"""Stages, each for itself, before a world that is told what to say."""
