"""HTTP for any site: errors, security headers, caches, logs. Knows no index."""
