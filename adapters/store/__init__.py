"""Stores: where the log, its work queue, blobs, keys and subjects are kept for good."""
