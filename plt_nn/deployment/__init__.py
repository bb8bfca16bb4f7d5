"""The use of trained models: finding, registering, predicting, evaluating, exporting."""
