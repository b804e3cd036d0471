"""Claims about a history, one `.sql` file each, and their judge."""
