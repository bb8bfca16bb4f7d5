"""A resumed run continues as the uninterrupted run would: random numbers, due validations, signals."""
