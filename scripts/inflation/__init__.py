"""A small trained model widened to a full-size shape that computes the same function."""
