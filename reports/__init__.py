"""A saved bundle in; a page out. Nothing here runs a queue, reaches a database or goes to the network."""
