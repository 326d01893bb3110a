"""Runs as a whole: train what a config asks for, evaluate it, compare."""
