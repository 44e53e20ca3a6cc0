"""Search: what a query means, and what in an index answers it; pages and JSON are made of the same."""
