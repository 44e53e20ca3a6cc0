"""Scopeview against the CLIP-Scope authors' own package, on the same files and the same images.

`scripts/conformance` runs it. `checkpoint` writes a random model and SAEs to disk, `theirs` reads them with
the authors' code in an environment of its own, `ours` with Scopeview; `comparison` knows only arrays.
"""
