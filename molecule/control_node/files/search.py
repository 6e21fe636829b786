"""Fail if a text is in an SQLite database, or in what its fields hold compressed: search.py FILE TEXT."""

import sqlite3
import sys
import zlib

database, text = sqlite3.connect(sys.argv[1]), sys.argv[2]
read = 0
for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
    for row in database.execute(f'SELECT * FROM "{table}"'):
        for field in row:
            plain = str(field)
            if isinstance(field, bytes):
                plain = zlib.decompress(field).decode()
                read += 1
            if text in plain:
                sys.exit(f"{text} is in the table {table}")
if not read:
    sys.exit("no compressed field was read")
