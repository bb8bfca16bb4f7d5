"""What a run has logged, on local disk until it is delivered. Standard library only: the uploader must be light."""
