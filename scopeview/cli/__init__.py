"""The commands of the command line, one module per area.

Only these modules may import both the indexer and the server, and only inside functions, so that a command
does not load what only another one needs.
"""
