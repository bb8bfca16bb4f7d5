"""What is wrong with the images of a folder: unreadable files, duplicates, labels in doubt, splits that differ."""
