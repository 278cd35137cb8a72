"""Answers kept ready: status documents as bytes, and the short way of a request to them."""
