"""What a twin is connected with, and how far what it shall be is from what it is."""
