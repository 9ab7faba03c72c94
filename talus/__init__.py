"""talus: a server on which a team plans one project together, live."""

__version__ = "0.1.0"
