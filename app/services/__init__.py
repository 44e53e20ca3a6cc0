"""Logic that pages and JSON share: plain values in, plain values out. Knows no HTML and no schemas."""
