"""What a run used and how fast it was: data sets, step times, system metrics, costs, the summary."""
