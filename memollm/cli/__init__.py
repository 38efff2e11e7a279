"""The command line (extra `cli`): one module for each group of commands, loaded when one of them is asked for."""
