"""Which line of history the database is on that a process meets, and whether to go on with it."""
