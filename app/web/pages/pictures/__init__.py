"""Charts as plain values: paths and positions that the templates write out as SVG."""
