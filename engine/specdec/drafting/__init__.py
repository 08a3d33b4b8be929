"""Drafters: each proposes the next few tokens; the engine owns positions, verification and the cache, so none can change the text."""
