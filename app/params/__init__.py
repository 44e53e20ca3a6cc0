"""The path and the query string, parsed once for pages and JSON."""
