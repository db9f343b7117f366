"""What the host does with tensors: layouts, staging expressions, memory images, the ports of a program."""
