"""What `TrainingView` shows, and how: in a terminal, and as lines."""
