"""Matrix loads ahead of the products that need them, beside work that does without the matrix unit."""
