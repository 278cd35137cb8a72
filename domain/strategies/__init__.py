"""The strategies, one pure file each: what a `deploy` stage expands into."""
