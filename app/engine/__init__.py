"""The inference engine: models, the worker, queues, budgets and caches. Knows no index."""
