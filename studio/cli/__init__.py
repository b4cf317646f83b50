"""Front door 1: the command line. stdout is data, stderr is words."""
