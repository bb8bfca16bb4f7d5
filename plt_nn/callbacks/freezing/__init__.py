"""`FreezingSchedule`: what each phase trains, when the next one begins, and whether frozen weights stay unchanged."""
