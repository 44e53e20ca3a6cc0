"""A finished index of any size without a model: random codes through the project's own writers and build."""
