"""Moderation: the operator's block-list, visitors' reports, and the reader that redacts."""
