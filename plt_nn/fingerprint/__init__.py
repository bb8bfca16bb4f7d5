"""Texts that tell what objects hold and what code does, the same in every process; they know nothing of plt_nn."""
