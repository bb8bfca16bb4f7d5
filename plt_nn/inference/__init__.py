"""The stand-alone model: how it is described, rebuilt, fed and asked. Needs neither Lightning nor the rest of plt_nn.

What is in this package, and what it imports of plt_nn, travels with every model (`plt_nn.inference.vendored_code`).
"""
