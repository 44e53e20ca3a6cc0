"""Reading and writing an index folder, as `data/README.md` specifies it. Never imports torch."""
