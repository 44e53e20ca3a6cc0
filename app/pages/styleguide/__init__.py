"""`/patterns`: every component of the pages in each of its states, on made-up data."""
