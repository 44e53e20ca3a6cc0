"""Sparse autoencoders: encode and decode, input statistics, reconstruction metrics."""
