"""The one process beside an interface that does the long work, and the client that talks to it."""
