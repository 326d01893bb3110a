"""How many directions embeddings use, and how evenly they lie on the sphere: without labels."""
