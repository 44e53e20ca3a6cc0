"""Scopeview against the libraries that people train SAEs with, on files that those libraries write.

`scripts/conformance-saes` runs it. `theirs` makes a random SAE of every architecture and normalisation that a
library offers, saves it as the library does and notes the library's own codes and reconstruction, in an
environment of its own; `__main__` reads the same files with Scopeview and compares.
"""
