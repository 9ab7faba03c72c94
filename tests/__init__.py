"""Tests meet the real thing: a server process, a database file, stock clients."""
