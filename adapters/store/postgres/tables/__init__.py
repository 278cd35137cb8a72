"""What is kept beside the log in the same database: work, blobs, people, tokens."""
