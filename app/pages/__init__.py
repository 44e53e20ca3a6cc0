"""The HTML pages: for each a context (a frozen dataclass), a builder and a route. Templates see no more."""
