"""The JSON API under `/api/v1`: what the pages show, described in OpenAPI."""
