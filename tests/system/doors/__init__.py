"""The ways in: commands that come twice, half, huge, beside another writer, or by a wrong clock."""
