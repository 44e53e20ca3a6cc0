"""The schemas of `/api/v1`, as OpenAPI describes them."""
