"""The commands of the command line, a file a side of the work.

The only modules that may reach both the indexer and the server, and only inside functions, so that no command
loads what another one needs.
"""
