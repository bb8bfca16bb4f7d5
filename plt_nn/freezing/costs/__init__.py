"""What the phases of a schedule cost: FLOPs, memory, and the tables that show it."""
