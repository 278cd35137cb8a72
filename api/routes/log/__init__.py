"""The routes of the log itself: its events, page by page or as a stream, and its exports."""
