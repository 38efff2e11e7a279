"""What a function's code is: its module's name, its syntax tree, what the tree reads, and the text of all that."""
