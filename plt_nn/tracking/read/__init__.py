"""Reading runs back: from the MLflow database, a server, or the spools that are not delivered yet."""
