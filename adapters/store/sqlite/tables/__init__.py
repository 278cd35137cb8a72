"""What is kept beside the log in the same file: work, blobs, people, tokens."""
