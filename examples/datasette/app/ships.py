"""Makes ships.db, the small database that is published."""

import sqlite3
from contextlib import closing

SHIPS = (
    ("Cutty Sark", 1869, "clipper"),
    ("Vasa", 1627, "ship of the line"),
    ("Fram", 1892, "schooner"),
    ("Götheborg", 1738, "East Indiaman"),
)

with closing(sqlite3.connect("ships.db")) as database, database:
    database.execute("DROP TABLE IF EXISTS ships")
    database.execute("CREATE TABLE ships (name TEXT PRIMARY KEY, launched INTEGER, rig TEXT)")
    database.executemany("INSERT INTO ships VALUES (?, ?, ?)", SHIPS)
