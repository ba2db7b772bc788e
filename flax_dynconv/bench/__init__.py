"""The benchmark: what each form of an operator, and each network, costs beside static and PyTorch ones."""
