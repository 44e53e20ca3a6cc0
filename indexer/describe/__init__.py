"""Describe: what each feature represents, computed from a built index, its embeddings and its weights.

Reads the index's database and never writes it; the results go into a separate database.
"""
