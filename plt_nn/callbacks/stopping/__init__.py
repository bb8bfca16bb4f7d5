"""`BestLossStopping`: stop when the lowest loss is not beaten, and restore the best weights."""
