"""Makes a finished index of any size without a model: random codes, our own writers and build."""
