"""The steps that make the demo pair: corpus, mixing, vocabulary, training, evaluation, export."""
