"""The command line: `main` finds the verb; one file per verb or family of verbs."""
