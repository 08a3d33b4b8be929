"""Measuring a pair: every way of decoding over a set of prompts, interleaved in one process."""
