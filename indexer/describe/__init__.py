"""Describe: what each feature is about, worked out from a built index, its embeddings and its weights.

It reads the index's database and never writes it: the answers go into a database of their own.
"""
