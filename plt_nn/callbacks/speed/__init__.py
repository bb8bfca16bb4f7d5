"""Faster steps with the same results up to rounding: `ChannelsLast`, `CompileNet`."""
