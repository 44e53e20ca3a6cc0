"""The HTML pages: each has a context (a frozen dataclass), a builder and a route."""
