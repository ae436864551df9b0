"""What fine-tuning LISA needs: conversations with labels, and the loss."""
