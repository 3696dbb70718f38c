"""What the record is for: to decide it all again, to tell a story, to say it again, to rebuild it from the other log."""
