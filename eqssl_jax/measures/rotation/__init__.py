"""How close is an augmentation to a rotation of the embeddings?"""
