"""What pages and JSON both ask: plain values in, plain values out. Knows no HTML and no JSON."""
