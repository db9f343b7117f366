"""What the passes of the tensor level are made of: patterns, views of tensors, operations inserted in their place."""
