"""Uploads: request bodies read within bounds, validated, decoded and stored for a while."""
