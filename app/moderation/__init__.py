"""What must not be shown: the operator's block-list, visitors' reports, and the reader that redacts."""
