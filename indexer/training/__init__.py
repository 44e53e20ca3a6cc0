"""Training: the small CLIP of the demo, and sparse autoencoders on any model's activations.

What both trainers share is in `schedule`, `checkpoint` and `log`. `scopeview.signals.pausable` makes Ctrl-C a
pause.
"""
