"""Secret stores, one file a technology; values are fetched when used and never stored."""
