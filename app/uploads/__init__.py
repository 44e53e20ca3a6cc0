"""Images that visitors send: read within bounds, decoded, analyzed, kept for a while."""
