"""Pictures that visitors send: read within bounds, decoded, taken apart, kept for a while."""
