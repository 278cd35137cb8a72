"""The process managers: state and time in, commands out; pure, so that a crash loses nothing."""
