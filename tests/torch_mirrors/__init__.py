"""Small PyTorch modules with the parameters, the key names and the arithmetic of the references, for live checks."""
