"""Networks, their poolings and their preprocessing. The only modules that import torch when they are imported: import them inside functions."""
