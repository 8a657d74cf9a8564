"""Satellite products as space agencies deliver them, one module a mission."""
