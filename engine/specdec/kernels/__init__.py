"""Triton kernels for NVIDIA GPUs; each has its torch reference in specdec.model and keeps a row's bits apart from the other rows."""
