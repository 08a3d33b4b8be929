"""What a GPU makes of the engine: one module a stage, each a function that fills `Findings`, and what the stages share."""
