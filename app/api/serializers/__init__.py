"""Serializers: records and results to the schemas of `/api/v1`."""
