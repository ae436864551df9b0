"""From mask logits to what people use: numbers, words and pictures."""
