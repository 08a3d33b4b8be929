"""The conversation on screen: one line-API widget over rows that know which character of the source each cell shows."""
