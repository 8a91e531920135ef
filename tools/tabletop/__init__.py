"""A rendered world of everyday objects (maintainers only): catalogue, parameters and renderer. See `tabletop.render`."""
