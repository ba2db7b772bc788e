"""Which form `implementation=None` takes: work counted from static shapes, times constants; or a measurement."""
