"""What the models of a pair are worth: loss on held-out text, acceptance of each drafter, and the answers themselves."""

OVERALL = "overall"
