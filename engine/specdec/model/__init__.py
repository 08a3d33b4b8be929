"""The decoder: one forward pass over preallocated caches, and the linear layers it is made of."""
