"""Vision transformers: images in, residual streams and embeddings out."""
