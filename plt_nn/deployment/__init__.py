"""What is done with a model that has been trained: finding, registering, predicting, evaluating, exporting."""
