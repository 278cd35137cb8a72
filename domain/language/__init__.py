"""The language of users' files: its values, its documents, and their compiler."""
