"""Records on their way: the blocks that they are cut from, batches of them, and their places."""
