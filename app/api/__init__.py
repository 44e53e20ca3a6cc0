"""The JSON under `/api/v1`: the same questions to the same reader as the pages, described in OpenAPI."""
