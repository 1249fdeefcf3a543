"""What is said of an SQLite file that can't be used."""

import sqlite3


def said(error: sqlite3.Error, remedy: str) -> str:
    """SQLite's words; with what is to be done if they are of a damaged file, and not of a busy or a full disk."""
    damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
    return f"the file is damaged: {error}; {remedy}" if damaged else str(error)
