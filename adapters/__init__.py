"""The outside, one file a technology; siblings do not know each other."""
