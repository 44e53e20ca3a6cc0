"""The web server: pages, JSON API, uploads and the inference worker, in layers (see CONTRIBUTING)."""
